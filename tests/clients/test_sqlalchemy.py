"""SQLAlchemy with pgvector-python's column types, index options and distance methods."""

import pytest
from pgvector import HalfVector, SparseVector, Vector
from pgvector.sqlalchemy import BIT, HALFVEC, SPARSEVEC, VECTOR
from sqlalchemy import URL, Index, Integer, create_engine, func, select, text
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "documents"
    id = mapped_column(Integer, primary_key=True)
    embedding = mapped_column(VECTOR(3))
    half = mapped_column(HALFVEC(3))
    sparse = mapped_column(SPARSEVEC(3))
    bits = mapped_column(BIT(3))


Index(
    "documents_embedding",
    Document.embedding,
    postgresql_using="hnsw",
    postgresql_with={"m": 8, "ef_construction": 32},
    postgresql_ops={"embedding": "vector_cosine_ops"},
)


@pytest.fixture(params=["psycopg", "psycopg2"])
def session(database, request):
    url = URL.create(
        f"postgresql+{request.param}",
        username=database["user"],
        database=database["dbname"],
        query={"host": database["host"], "port": database["port"]},
    )
    engine = create_engine(url)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


def test_models_are_stored_searched_and_averaged(session):
    for i in range(1, 101):
        session.add(
            Document(
                id=i, embedding=[1, i, 0], half=[1, i, 0], sparse=SparseVector([1, i, 0]), bits="101"
            )
        )
    session.commit()
    session.execute(text("SET enable_seqscan = off"))

    nearest = select(Document).order_by(Document.embedding.cosine_distance([1, 50, 0])).limit(1)
    found = session.scalars(nearest).one()
    assert found.id == 50
    assert found.embedding in (Vector([1, 50, 0]), [1, 50, 0])
    assert found.half in (HalfVector([1, 50, 0]), [1, 50, 0])
    assert found.sparse == SparseVector([1, 50, 0])

    for distance in (
        Document.embedding.l2_distance([1, 70, 0]),
        Document.half.l2_distance([1, 70, 0]),
        Document.half.l1_distance([1, 70, 0]),
        Document.sparse.l2_distance(SparseVector([1, 70, 0])),
    ):
        assert session.scalars(select(Document.id).order_by(distance).limit(1)).one() == 70

    average = session.scalars(select(func.avg(Document.embedding))).one()
    assert average in ("[1,50.5,0]", Vector([1, 50.5, 0]))
