-- complain if the script is sourced in psql, rather than through CREATE EXTENSION
\echo Use "CREATE EXTENSION vectorext" to load this file. \quit

-- ==================================================================================== vector

CREATE TYPE vector;

CREATE FUNCTION vector_in(cstring, oid, integer) RETURNS vector
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_in(cstring, oid, integer) IS 'I/O';

CREATE FUNCTION vector_out(vector) RETURNS cstring
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_out(vector) IS 'I/O';

CREATE FUNCTION vector_typmod_in(cstring[]) RETURNS integer
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_typmod_in(cstring[]) IS 'I/O typmod';

CREATE FUNCTION vector_recv(internal, oid, integer) RETURNS vector
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_recv(internal, oid, integer) IS 'I/O';

CREATE FUNCTION vector_send(vector) RETURNS bytea
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_send(vector) IS 'I/O';

CREATE TYPE vector (
    INPUT = vector_in,
    OUTPUT = vector_out,
    TYPMOD_IN = vector_typmod_in,
    RECEIVE = vector_recv,
    SEND = vector_send,
    STORAGE = external
);
COMMENT ON TYPE vector IS 'single-precision vector';

-- functions

CREATE FUNCTION l2_distance(vector, vector) RETURNS double precision
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_distance(vector, vector) IS 'Euclidean distance';

CREATE FUNCTION inner_product(vector, vector) RETURNS double precision
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION inner_product(vector, vector) IS 'inner product';

CREATE FUNCTION cosine_distance(vector, vector) RETURNS double precision
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION cosine_distance(vector, vector) IS 'cosine distance';

CREATE FUNCTION l1_distance(vector, vector) RETURNS double precision
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l1_distance(vector, vector) IS 'taxicab distance';

CREATE FUNCTION vector_dims(vector) RETURNS integer
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_dims(vector) IS 'number of dimensions';

CREATE FUNCTION vector_norm(vector) RETURNS double precision
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_norm(vector) IS 'Euclidean norm';

CREATE FUNCTION l2_normalize(vector) RETURNS vector
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_normalize(vector) IS 'normalize with Euclidean norm';

CREATE FUNCTION binary_quantize(vector) RETURNS bit
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION binary_quantize(vector) IS 'binary quantize';

CREATE FUNCTION subvector(vector, integer, integer) RETURNS vector
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION subvector(vector, integer, integer) IS 'subvector';

-- functions behind operators, operator classes and aggregates

CREATE FUNCTION vector_add(vector, vector) RETURNS vector
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_add(vector, vector) IS 'implementation of + operator';

CREATE FUNCTION vector_sub(vector, vector) RETURNS vector
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_sub(vector, vector) IS 'implementation of - operator';

CREATE FUNCTION vector_mul(vector, vector) RETURNS vector
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_mul(vector, vector) IS 'implementation of * operator';

CREATE FUNCTION vector_concat(vector, vector) RETURNS vector
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_concat(vector, vector) IS 'implementation of || operator';

CREATE FUNCTION vector_lt(vector, vector) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_lt(vector, vector) IS 'implementation of < operator';

CREATE FUNCTION vector_le(vector, vector) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_le(vector, vector) IS 'implementation of <= operator';

CREATE FUNCTION vector_eq(vector, vector) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_eq(vector, vector) IS 'implementation of = operator';

CREATE FUNCTION vector_ne(vector, vector) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_ne(vector, vector) IS 'implementation of <> operator';

CREATE FUNCTION vector_ge(vector, vector) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_ge(vector, vector) IS 'implementation of >= operator';

CREATE FUNCTION vector_gt(vector, vector) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_gt(vector, vector) IS 'implementation of > operator';

CREATE FUNCTION vector_cmp(vector, vector) RETURNS integer
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_cmp(vector, vector) IS 'less-equal-greater';

CREATE FUNCTION vector_l2_squared_distance(vector, vector) RETURNS double precision
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_l2_squared_distance(vector, vector) IS 'squared Euclidean distance';

CREATE FUNCTION vector_negative_inner_product(vector, vector) RETURNS double precision
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_negative_inner_product(vector, vector) IS 'negative inner product';

CREATE FUNCTION vector_spherical_distance(vector, vector) RETURNS double precision
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_spherical_distance(vector, vector) IS 'spherical distance';

CREATE FUNCTION vector_accum(double precision[], vector) RETURNS double precision[]
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_accum(double precision[], vector) IS 'aggregate transition function';

CREATE FUNCTION vector_avg(double precision[]) RETURNS vector
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_avg(double precision[]) IS 'aggregate final function';

CREATE FUNCTION vector_sum(double precision[]) RETURNS vector
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_sum(double precision[]) IS 'aggregate final function';

CREATE FUNCTION vector_combine(double precision[], double precision[]) RETURNS double precision[]
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_combine(double precision[], double precision[]) IS 'aggregate combine function';

-- aggregates

CREATE AGGREGATE avg(vector) (
    SFUNC = vector_accum,
    STYPE = double precision[],
    FINALFUNC = vector_avg,
    COMBINEFUNC = vector_combine,
    INITCOND = '{0}',
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE avg(vector) IS 'the average (arithmetic mean) as vector of all vector values';

CREATE AGGREGATE sum(vector) (
    SFUNC = vector_add,
    STYPE = vector,
    COMBINEFUNC = vector_add,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE sum(vector) IS 'sum as vector across all vector input values';

-- casts

CREATE FUNCTION vector(vector, integer, boolean) RETURNS vector
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector(vector, integer, boolean) IS 'adjust vector to typmod';

CREATE FUNCTION array_to_vector(smallint[], integer, boolean) RETURNS vector
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_vector(smallint[], integer, boolean) IS 'convert int2 array to vector';

CREATE FUNCTION array_to_vector(integer[], integer, boolean) RETURNS vector
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_vector(integer[], integer, boolean) IS 'convert int4 array to vector';

CREATE FUNCTION array_to_vector(real[], integer, boolean) RETURNS vector
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_vector(real[], integer, boolean) IS 'convert float4 array to vector';

CREATE FUNCTION array_to_vector(double precision[], integer, boolean) RETURNS vector
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_vector(double precision[], integer, boolean) IS 'convert float8 array to vector';

CREATE FUNCTION array_to_vector(numeric[], integer, boolean) RETURNS vector
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_vector(numeric[], integer, boolean) IS 'convert numeric array to vector';

CREATE FUNCTION vector_to_float4(vector, integer, boolean) RETURNS real[]
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_to_float4(vector, integer, boolean) IS 'convert vector to float4 array';

CREATE CAST (vector AS vector) WITH FUNCTION vector(vector, integer, boolean) AS IMPLICIT;
CREATE CAST (vector AS real[]) WITH FUNCTION vector_to_float4(vector, integer, boolean) AS IMPLICIT;
CREATE CAST (smallint[] AS vector) WITH FUNCTION array_to_vector(smallint[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (integer[] AS vector) WITH FUNCTION array_to_vector(integer[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (real[] AS vector) WITH FUNCTION array_to_vector(real[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (double precision[] AS vector) WITH FUNCTION array_to_vector(double precision[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (numeric[] AS vector) WITH FUNCTION array_to_vector(numeric[], integer, boolean) AS ASSIGNMENT;

-- operators

CREATE OPERATOR <-> (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = l2_distance, COMMUTATOR = <->
);
COMMENT ON OPERATOR <-> (vector, vector) IS 'Euclidean distance';

CREATE OPERATOR <#> (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_negative_inner_product, COMMUTATOR = <#>
);
COMMENT ON OPERATOR <#> (vector, vector) IS 'negative inner product';

CREATE OPERATOR <=> (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = cosine_distance, COMMUTATOR = <=>
);
COMMENT ON OPERATOR <=> (vector, vector) IS 'cosine distance';

CREATE OPERATOR <+> (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = l1_distance, COMMUTATOR = <+>
);
COMMENT ON OPERATOR <+> (vector, vector) IS 'taxicab distance';

CREATE OPERATOR + (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_add, COMMUTATOR = +
);
COMMENT ON OPERATOR + (vector, vector) IS 'add';

CREATE OPERATOR - (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_sub
);
COMMENT ON OPERATOR - (vector, vector) IS 'subtract';

CREATE OPERATOR * (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_mul, COMMUTATOR = *
);
COMMENT ON OPERATOR * (vector, vector) IS 'multiply';

CREATE OPERATOR || (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_concat
);
COMMENT ON OPERATOR || (vector, vector) IS 'concatenate';

CREATE OPERATOR < (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_lt,
    COMMUTATOR = >, NEGATOR = >=,
    RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR < (vector, vector) IS 'less than';

CREATE OPERATOR <= (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_le,
    COMMUTATOR = >=, NEGATOR = >,
    RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR <= (vector, vector) IS 'less than or equal';

CREATE OPERATOR = (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_eq,
    COMMUTATOR = =, NEGATOR = <>,
    RESTRICT = eqsel, JOIN = eqjoinsel
);
COMMENT ON OPERATOR = (vector, vector) IS 'equal';

CREATE OPERATOR <> (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_ne,
    COMMUTATOR = <>, NEGATOR = =,
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR <> (vector, vector) IS 'not equal';

CREATE OPERATOR >= (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_ge,
    COMMUTATOR = <=, NEGATOR = <,
    RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR >= (vector, vector) IS 'greater than or equal';

CREATE OPERATOR > (
    LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_gt,
    COMMUTATOR = <, NEGATOR = <=,
    RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR > (vector, vector) IS 'greater than';

CREATE OPERATOR CLASS vector_ops DEFAULT FOR TYPE vector USING btree AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 vector_cmp(vector, vector);

-- =================================================================================== halfvec

CREATE TYPE halfvec;

CREATE FUNCTION halfvec_in(cstring, oid, integer) RETURNS halfvec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_in(cstring, oid, integer) IS 'I/O';

CREATE FUNCTION halfvec_out(halfvec) RETURNS cstring
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_out(halfvec) IS 'I/O';

CREATE FUNCTION halfvec_typmod_in(cstring[]) RETURNS integer
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_typmod_in(cstring[]) IS 'I/O typmod';

CREATE FUNCTION halfvec_recv(internal, oid, integer) RETURNS halfvec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_recv(internal, oid, integer) IS 'I/O';

CREATE FUNCTION halfvec_send(halfvec) RETURNS bytea
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_send(halfvec) IS 'I/O';

CREATE TYPE halfvec (
    INPUT = halfvec_in,
    OUTPUT = halfvec_out,
    TYPMOD_IN = halfvec_typmod_in,
    RECEIVE = halfvec_recv,
    SEND = halfvec_send,
    STORAGE = external
);
COMMENT ON TYPE halfvec IS 'half-precision vector';

-- functions

CREATE FUNCTION l2_distance(halfvec, halfvec) RETURNS double precision
    AS 'MODULE_PATHNAME', 'halfvec_l2_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_distance(halfvec, halfvec) IS 'Euclidean distance';

CREATE FUNCTION inner_product(halfvec, halfvec) RETURNS double precision
    AS 'MODULE_PATHNAME', 'halfvec_inner_product' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION inner_product(halfvec, halfvec) IS 'inner product';

CREATE FUNCTION cosine_distance(halfvec, halfvec) RETURNS double precision
    AS 'MODULE_PATHNAME', 'halfvec_cosine_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION cosine_distance(halfvec, halfvec) IS 'cosine distance';

CREATE FUNCTION l1_distance(halfvec, halfvec) RETURNS double precision
    AS 'MODULE_PATHNAME', 'halfvec_l1_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l1_distance(halfvec, halfvec) IS 'taxicab distance';

CREATE FUNCTION vector_dims(halfvec) RETURNS integer
    AS 'MODULE_PATHNAME', 'halfvec_vector_dims' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_dims(halfvec) IS 'number of dimensions';

CREATE FUNCTION l2_norm(halfvec) RETURNS double precision
    AS 'MODULE_PATHNAME', 'halfvec_l2_norm' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_norm(halfvec) IS 'Euclidean norm';

CREATE FUNCTION l2_normalize(halfvec) RETURNS halfvec
    AS 'MODULE_PATHNAME', 'halfvec_l2_normalize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_normalize(halfvec) IS 'normalize with Euclidean norm';

CREATE FUNCTION binary_quantize(halfvec) RETURNS bit
    AS 'MODULE_PATHNAME', 'halfvec_binary_quantize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION binary_quantize(halfvec) IS 'binary quantize';

CREATE FUNCTION subvector(halfvec, integer, integer) RETURNS halfvec
    AS 'MODULE_PATHNAME', 'halfvec_subvector' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION subvector(halfvec, integer, integer) IS 'subvector';

-- functions behind operators, operator classes and aggregates

CREATE FUNCTION halfvec_add(halfvec, halfvec) RETURNS halfvec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_add(halfvec, halfvec) IS 'implementation of + operator';

CREATE FUNCTION halfvec_sub(halfvec, halfvec) RETURNS halfvec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_sub(halfvec, halfvec) IS 'implementation of - operator';

CREATE FUNCTION halfvec_mul(halfvec, halfvec) RETURNS halfvec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_mul(halfvec, halfvec) IS 'implementation of * operator';

CREATE FUNCTION halfvec_concat(halfvec, halfvec) RETURNS halfvec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_concat(halfvec, halfvec) IS 'implementation of || operator';

CREATE FUNCTION halfvec_lt(halfvec, halfvec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_lt(halfvec, halfvec) IS 'implementation of < operator';

CREATE FUNCTION halfvec_le(halfvec, halfvec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_le(halfvec, halfvec) IS 'implementation of <= operator';

CREATE FUNCTION halfvec_eq(halfvec, halfvec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_eq(halfvec, halfvec) IS 'implementation of = operator';

CREATE FUNCTION halfvec_ne(halfvec, halfvec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_ne(halfvec, halfvec) IS 'implementation of <> operator';

CREATE FUNCTION halfvec_ge(halfvec, halfvec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_ge(halfvec, halfvec) IS 'implementation of >= operator';

CREATE FUNCTION halfvec_gt(halfvec, halfvec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_gt(halfvec, halfvec) IS 'implementation of > operator';

CREATE FUNCTION halfvec_cmp(halfvec, halfvec) RETURNS integer
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_cmp(halfvec, halfvec) IS 'less-equal-greater';

CREATE FUNCTION halfvec_l2_squared_distance(halfvec, halfvec) RETURNS double precision
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_l2_squared_distance(halfvec, halfvec) IS 'squared Euclidean distance';

CREATE FUNCTION halfvec_negative_inner_product(halfvec, halfvec) RETURNS double precision
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_negative_inner_product(halfvec, halfvec) IS 'negative inner product';

CREATE FUNCTION halfvec_spherical_distance(halfvec, halfvec) RETURNS double precision
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_spherical_distance(halfvec, halfvec) IS 'spherical distance';

CREATE FUNCTION halfvec_accum(double precision[], halfvec) RETURNS double precision[]
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_accum(double precision[], halfvec) IS 'aggregate transition function';

CREATE FUNCTION halfvec_avg(double precision[]) RETURNS halfvec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_avg(double precision[]) IS 'aggregate final function';

CREATE FUNCTION halfvec_combine(double precision[], double precision[]) RETURNS double precision[]
    AS 'MODULE_PATHNAME', 'vector_combine' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_combine(double precision[], double precision[]) IS 'aggregate combine function';

-- aggregates

CREATE AGGREGATE avg(halfvec) (
    SFUNC = halfvec_accum,
    STYPE = double precision[],
    FINALFUNC = halfvec_avg,
    COMBINEFUNC = halfvec_combine,
    INITCOND = '{0}',
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE avg(halfvec) IS 'the average (arithmetic mean) as halfvec of all halfvec values';

CREATE AGGREGATE sum(halfvec) (
    SFUNC = halfvec_add,
    STYPE = halfvec,
    COMBINEFUNC = halfvec_add,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE sum(halfvec) IS 'sum as halfvec across all halfvec input values';

-- casts

CREATE FUNCTION halfvec(halfvec, integer, boolean) RETURNS halfvec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec(halfvec, integer, boolean) IS 'adjust halfvec to typmod';

CREATE FUNCTION array_to_halfvec(smallint[], integer, boolean) RETURNS halfvec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_halfvec(smallint[], integer, boolean) IS 'convert int2 array to halfvec';

CREATE FUNCTION array_to_halfvec(integer[], integer, boolean) RETURNS halfvec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_halfvec(integer[], integer, boolean) IS 'convert int4 array to halfvec';

CREATE FUNCTION array_to_halfvec(real[], integer, boolean) RETURNS halfvec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_halfvec(real[], integer, boolean) IS 'convert float4 array to halfvec';

CREATE FUNCTION array_to_halfvec(double precision[], integer, boolean) RETURNS halfvec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_halfvec(double precision[], integer, boolean) IS 'convert float8 array to halfvec';

CREATE FUNCTION array_to_halfvec(numeric[], integer, boolean) RETURNS halfvec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_halfvec(numeric[], integer, boolean) IS 'convert numeric array to halfvec';

CREATE FUNCTION halfvec_to_float4(halfvec, integer, boolean) RETURNS real[]
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_to_float4(halfvec, integer, boolean) IS 'convert halfvec to float4 array';

CREATE CAST (halfvec AS halfvec) WITH FUNCTION halfvec(halfvec, integer, boolean) AS IMPLICIT;
CREATE CAST (halfvec AS real[]) WITH FUNCTION halfvec_to_float4(halfvec, integer, boolean) AS ASSIGNMENT;
CREATE CAST (smallint[] AS halfvec) WITH FUNCTION array_to_halfvec(smallint[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (integer[] AS halfvec) WITH FUNCTION array_to_halfvec(integer[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (real[] AS halfvec) WITH FUNCTION array_to_halfvec(real[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (double precision[] AS halfvec) WITH FUNCTION array_to_halfvec(double precision[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (numeric[] AS halfvec) WITH FUNCTION array_to_halfvec(numeric[], integer, boolean) AS ASSIGNMENT;

-- operators

CREATE OPERATOR <-> (
    LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = l2_distance, COMMUTATOR = <->
);
COMMENT ON OPERATOR <-> (halfvec, halfvec) IS 'Euclidean distance';

CREATE OPERATOR <#> (
    LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_negative_inner_product, COMMUTATOR = <#>
);
COMMENT ON OPERATOR <#> (halfvec, halfvec) IS 'negative inner product';

CREATE OPERATOR <=> (
    LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = cosine_distance, COMMUTATOR = <=>
);
COMMENT ON OPERATOR <=> (halfvec, halfvec) IS 'cosine distance';

CREATE OPERATOR <+> (
    LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = l1_distance, COMMUTATOR = <+>
);
COMMENT ON OPERATOR <+> (halfvec, halfvec) IS 'taxicab distance';

CREATE OPERATOR + (
    LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_add, COMMUTATOR = +
);
COMMENT ON OPERATOR + (halfvec, halfvec) IS 'add';

CREATE OPERATOR - (
    LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_sub
);
COMMENT ON OPERATOR - (halfvec, halfvec) IS 'subtract';

CREATE OPERATOR * (
    LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_mul, COMMUTATOR = *
);
COMMENT ON OPERATOR * (halfvec, halfvec) IS 'multiply';

CREATE OPERATOR || (
    LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_concat
);
COMMENT ON OPERATOR || (halfvec, halfvec) IS 'concatenate';

CREATE OPERATOR < (
    LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_lt,
    COMMUTATOR = >, NEGATOR = >=,
    RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR < (halfvec, halfvec) IS 'less than';

CREATE OPERATOR <= (
    LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_le,
    COMMUTATOR = >=, NEGATOR = >,
    RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR <= (halfvec, halfvec) IS 'less than or equal';

CREATE OPERATOR = (
    LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_eq,
    COMMUTATOR = =, NEGATOR = <>,
    RESTRICT = eqsel, JOIN = eqjoinsel
);
COMMENT ON OPERATOR = (halfvec, halfvec) IS 'equal';

CREATE OPERATOR <> (
    LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_ne,
    COMMUTATOR = <>, NEGATOR = =,
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR <> (halfvec, halfvec) IS 'not equal';

CREATE OPERATOR >= (
    LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_ge,
    COMMUTATOR = <=, NEGATOR = <,
    RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR >= (halfvec, halfvec) IS 'greater than or equal';

CREATE OPERATOR > (
    LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_gt,
    COMMUTATOR = <, NEGATOR = <=,
    RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR > (halfvec, halfvec) IS 'greater than';

CREATE OPERATOR CLASS halfvec_ops DEFAULT FOR TYPE halfvec USING btree AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 halfvec_cmp(halfvec, halfvec);

-- =============================================================================== bf16vec

CREATE TYPE bf16vec;

CREATE FUNCTION bf16vec_in(cstring, oid, integer) RETURNS bf16vec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_in(cstring, oid, integer) IS 'I/O';

CREATE FUNCTION bf16vec_out(bf16vec) RETURNS cstring
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_out(bf16vec) IS 'I/O';

CREATE FUNCTION bf16vec_typmod_in(cstring[]) RETURNS integer
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_typmod_in(cstring[]) IS 'I/O typmod';

CREATE FUNCTION bf16vec_recv(internal, oid, integer) RETURNS bf16vec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_recv(internal, oid, integer) IS 'I/O';

CREATE FUNCTION bf16vec_send(bf16vec) RETURNS bytea
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_send(bf16vec) IS 'I/O';

CREATE TYPE bf16vec (
    INPUT = bf16vec_in,
    OUTPUT = bf16vec_out,
    TYPMOD_IN = bf16vec_typmod_in,
    RECEIVE = bf16vec_recv,
    SEND = bf16vec_send,
    STORAGE = external
);
COMMENT ON TYPE bf16vec IS 'bfloat16 vector';

-- functions

CREATE FUNCTION l2_distance(bf16vec, bf16vec) RETURNS double precision
    AS 'MODULE_PATHNAME', 'bf16vec_l2_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_distance(bf16vec, bf16vec) IS 'Euclidean distance';

CREATE FUNCTION inner_product(bf16vec, bf16vec) RETURNS double precision
    AS 'MODULE_PATHNAME', 'bf16vec_inner_product' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION inner_product(bf16vec, bf16vec) IS 'inner product';

CREATE FUNCTION cosine_distance(bf16vec, bf16vec) RETURNS double precision
    AS 'MODULE_PATHNAME', 'bf16vec_cosine_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION cosine_distance(bf16vec, bf16vec) IS 'cosine distance';

CREATE FUNCTION l1_distance(bf16vec, bf16vec) RETURNS double precision
    AS 'MODULE_PATHNAME', 'bf16vec_l1_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l1_distance(bf16vec, bf16vec) IS 'taxicab distance';

CREATE FUNCTION vector_dims(bf16vec) RETURNS integer
    AS 'MODULE_PATHNAME', 'bf16vec_vector_dims' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_dims(bf16vec) IS 'number of dimensions';

CREATE FUNCTION l2_norm(bf16vec) RETURNS double precision
    AS 'MODULE_PATHNAME', 'bf16vec_l2_norm' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_norm(bf16vec) IS 'Euclidean norm';

CREATE FUNCTION l2_normalize(bf16vec) RETURNS bf16vec
    AS 'MODULE_PATHNAME', 'bf16vec_l2_normalize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_normalize(bf16vec) IS 'normalize with Euclidean norm';

CREATE FUNCTION binary_quantize(bf16vec) RETURNS bit
    AS 'MODULE_PATHNAME', 'bf16vec_binary_quantize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION binary_quantize(bf16vec) IS 'binary quantize';

CREATE FUNCTION subvector(bf16vec, integer, integer) RETURNS bf16vec
    AS 'MODULE_PATHNAME', 'bf16vec_subvector' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION subvector(bf16vec, integer, integer) IS 'subvector';

-- functions behind operators, operator classes and aggregates

CREATE FUNCTION bf16vec_add(bf16vec, bf16vec) RETURNS bf16vec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_add(bf16vec, bf16vec) IS 'implementation of + operator';

CREATE FUNCTION bf16vec_sub(bf16vec, bf16vec) RETURNS bf16vec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_sub(bf16vec, bf16vec) IS 'implementation of - operator';

CREATE FUNCTION bf16vec_mul(bf16vec, bf16vec) RETURNS bf16vec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_mul(bf16vec, bf16vec) IS 'implementation of * operator';

CREATE FUNCTION bf16vec_concat(bf16vec, bf16vec) RETURNS bf16vec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_concat(bf16vec, bf16vec) IS 'implementation of || operator';

CREATE FUNCTION bf16vec_lt(bf16vec, bf16vec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_lt(bf16vec, bf16vec) IS 'implementation of < operator';

CREATE FUNCTION bf16vec_le(bf16vec, bf16vec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_le(bf16vec, bf16vec) IS 'implementation of <= operator';

CREATE FUNCTION bf16vec_eq(bf16vec, bf16vec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_eq(bf16vec, bf16vec) IS 'implementation of = operator';

CREATE FUNCTION bf16vec_ne(bf16vec, bf16vec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_ne(bf16vec, bf16vec) IS 'implementation of <> operator';

CREATE FUNCTION bf16vec_ge(bf16vec, bf16vec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_ge(bf16vec, bf16vec) IS 'implementation of >= operator';

CREATE FUNCTION bf16vec_gt(bf16vec, bf16vec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_gt(bf16vec, bf16vec) IS 'implementation of > operator';

CREATE FUNCTION bf16vec_cmp(bf16vec, bf16vec) RETURNS integer
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_cmp(bf16vec, bf16vec) IS 'less-equal-greater';

CREATE FUNCTION bf16vec_l2_squared_distance(bf16vec, bf16vec) RETURNS double precision
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_l2_squared_distance(bf16vec, bf16vec) IS 'squared Euclidean distance';

CREATE FUNCTION bf16vec_negative_inner_product(bf16vec, bf16vec) RETURNS double precision
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_negative_inner_product(bf16vec, bf16vec) IS 'negative inner product';

CREATE FUNCTION bf16vec_accum(double precision[], bf16vec) RETURNS double precision[]
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_accum(double precision[], bf16vec) IS 'aggregate transition function';

-- aggregates

-- elements hold neither sums nor means, so both are a vector

CREATE AGGREGATE avg(bf16vec) (
    SFUNC = bf16vec_accum,
    STYPE = double precision[],
    FINALFUNC = vector_avg,
    COMBINEFUNC = vector_combine,
    INITCOND = '{0}',
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE avg(bf16vec) IS 'the average (arithmetic mean) as vector of all bf16vec values';

CREATE AGGREGATE sum(bf16vec) (
    SFUNC = bf16vec_accum,
    STYPE = double precision[],
    FINALFUNC = vector_sum,
    COMBINEFUNC = vector_combine,
    INITCOND = '{0}',
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE sum(bf16vec) IS 'sum as vector across all bf16vec input values';

-- casts

CREATE FUNCTION bf16vec(bf16vec, integer, boolean) RETURNS bf16vec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec(bf16vec, integer, boolean) IS 'adjust bf16vec to typmod';

CREATE FUNCTION array_to_bf16vec(smallint[], integer, boolean) RETURNS bf16vec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_bf16vec(smallint[], integer, boolean) IS 'convert int2 array to bf16vec';

CREATE FUNCTION array_to_bf16vec(integer[], integer, boolean) RETURNS bf16vec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_bf16vec(integer[], integer, boolean) IS 'convert int4 array to bf16vec';

CREATE FUNCTION array_to_bf16vec(real[], integer, boolean) RETURNS bf16vec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_bf16vec(real[], integer, boolean) IS 'convert float4 array to bf16vec';

CREATE FUNCTION array_to_bf16vec(double precision[], integer, boolean) RETURNS bf16vec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_bf16vec(double precision[], integer, boolean) IS 'convert float8 array to bf16vec';

CREATE FUNCTION array_to_bf16vec(numeric[], integer, boolean) RETURNS bf16vec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_bf16vec(numeric[], integer, boolean) IS 'convert numeric array to bf16vec';

CREATE FUNCTION bf16vec_to_float4(bf16vec, integer, boolean) RETURNS real[]
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_to_float4(bf16vec, integer, boolean) IS 'convert bf16vec to float4 array';

CREATE CAST (bf16vec AS bf16vec) WITH FUNCTION bf16vec(bf16vec, integer, boolean) AS IMPLICIT;
CREATE CAST (bf16vec AS real[]) WITH FUNCTION bf16vec_to_float4(bf16vec, integer, boolean) AS ASSIGNMENT;
CREATE CAST (smallint[] AS bf16vec) WITH FUNCTION array_to_bf16vec(smallint[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (integer[] AS bf16vec) WITH FUNCTION array_to_bf16vec(integer[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (real[] AS bf16vec) WITH FUNCTION array_to_bf16vec(real[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (double precision[] AS bf16vec) WITH FUNCTION array_to_bf16vec(double precision[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (numeric[] AS bf16vec) WITH FUNCTION array_to_bf16vec(numeric[], integer, boolean) AS ASSIGNMENT;

-- operators

CREATE OPERATOR <-> (
    LEFTARG = bf16vec, RIGHTARG = bf16vec, FUNCTION = l2_distance, COMMUTATOR = <->
);
COMMENT ON OPERATOR <-> (bf16vec, bf16vec) IS 'Euclidean distance';

CREATE OPERATOR <#> (
    LEFTARG = bf16vec, RIGHTARG = bf16vec, FUNCTION = bf16vec_negative_inner_product, COMMUTATOR = <#>
);
COMMENT ON OPERATOR <#> (bf16vec, bf16vec) IS 'negative inner product';

CREATE OPERATOR <=> (
    LEFTARG = bf16vec, RIGHTARG = bf16vec, FUNCTION = cosine_distance, COMMUTATOR = <=>
);
COMMENT ON OPERATOR <=> (bf16vec, bf16vec) IS 'cosine distance';

CREATE OPERATOR <+> (
    LEFTARG = bf16vec, RIGHTARG = bf16vec, FUNCTION = l1_distance, COMMUTATOR = <+>
);
COMMENT ON OPERATOR <+> (bf16vec, bf16vec) IS 'taxicab distance';

CREATE OPERATOR + (
    LEFTARG = bf16vec, RIGHTARG = bf16vec, FUNCTION = bf16vec_add, COMMUTATOR = +
);
COMMENT ON OPERATOR + (bf16vec, bf16vec) IS 'add';

CREATE OPERATOR - (
    LEFTARG = bf16vec, RIGHTARG = bf16vec, FUNCTION = bf16vec_sub
);
COMMENT ON OPERATOR - (bf16vec, bf16vec) IS 'subtract';

CREATE OPERATOR * (
    LEFTARG = bf16vec, RIGHTARG = bf16vec, FUNCTION = bf16vec_mul, COMMUTATOR = *
);
COMMENT ON OPERATOR * (bf16vec, bf16vec) IS 'multiply';

CREATE OPERATOR || (
    LEFTARG = bf16vec, RIGHTARG = bf16vec, FUNCTION = bf16vec_concat
);
COMMENT ON OPERATOR || (bf16vec, bf16vec) IS 'concatenate';

CREATE OPERATOR < (
    LEFTARG = bf16vec, RIGHTARG = bf16vec, FUNCTION = bf16vec_lt,
    COMMUTATOR = >, NEGATOR = >=,
    RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR < (bf16vec, bf16vec) IS 'less than';

CREATE OPERATOR <= (
    LEFTARG = bf16vec, RIGHTARG = bf16vec, FUNCTION = bf16vec_le,
    COMMUTATOR = >=, NEGATOR = >,
    RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR <= (bf16vec, bf16vec) IS 'less than or equal';

CREATE OPERATOR = (
    LEFTARG = bf16vec, RIGHTARG = bf16vec, FUNCTION = bf16vec_eq,
    COMMUTATOR = =, NEGATOR = <>,
    RESTRICT = eqsel, JOIN = eqjoinsel
);
COMMENT ON OPERATOR = (bf16vec, bf16vec) IS 'equal';

CREATE OPERATOR <> (
    LEFTARG = bf16vec, RIGHTARG = bf16vec, FUNCTION = bf16vec_ne,
    COMMUTATOR = <>, NEGATOR = =,
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR <> (bf16vec, bf16vec) IS 'not equal';

CREATE OPERATOR >= (
    LEFTARG = bf16vec, RIGHTARG = bf16vec, FUNCTION = bf16vec_ge,
    COMMUTATOR = <=, NEGATOR = <,
    RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR >= (bf16vec, bf16vec) IS 'greater than or equal';

CREATE OPERATOR > (
    LEFTARG = bf16vec, RIGHTARG = bf16vec, FUNCTION = bf16vec_gt,
    COMMUTATOR = <, NEGATOR = <=,
    RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR > (bf16vec, bf16vec) IS 'greater than';

CREATE OPERATOR CLASS bf16vec_ops DEFAULT FOR TYPE bf16vec USING btree AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 bf16vec_cmp(bf16vec, bf16vec);

-- =============================================================================== bytevec

CREATE TYPE bytevec;

CREATE FUNCTION bytevec_in(cstring, oid, integer) RETURNS bytevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_in(cstring, oid, integer) IS 'I/O';

CREATE FUNCTION bytevec_out(bytevec) RETURNS cstring
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_out(bytevec) IS 'I/O';

CREATE FUNCTION bytevec_typmod_in(cstring[]) RETURNS integer
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_typmod_in(cstring[]) IS 'I/O typmod';

CREATE FUNCTION bytevec_recv(internal, oid, integer) RETURNS bytevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_recv(internal, oid, integer) IS 'I/O';

CREATE FUNCTION bytevec_send(bytevec) RETURNS bytea
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_send(bytevec) IS 'I/O';

CREATE TYPE bytevec (
    INPUT = bytevec_in,
    OUTPUT = bytevec_out,
    TYPMOD_IN = bytevec_typmod_in,
    RECEIVE = bytevec_recv,
    SEND = bytevec_send,
    STORAGE = external
);
COMMENT ON TYPE bytevec IS 'vector of signed bytes';

-- functions

CREATE FUNCTION l2_distance(bytevec, bytevec) RETURNS double precision
    AS 'MODULE_PATHNAME', 'bytevec_l2_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_distance(bytevec, bytevec) IS 'Euclidean distance';

CREATE FUNCTION inner_product(bytevec, bytevec) RETURNS double precision
    AS 'MODULE_PATHNAME', 'bytevec_inner_product' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION inner_product(bytevec, bytevec) IS 'inner product';

CREATE FUNCTION cosine_distance(bytevec, bytevec) RETURNS double precision
    AS 'MODULE_PATHNAME', 'bytevec_cosine_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION cosine_distance(bytevec, bytevec) IS 'cosine distance';

CREATE FUNCTION l1_distance(bytevec, bytevec) RETURNS double precision
    AS 'MODULE_PATHNAME', 'bytevec_l1_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l1_distance(bytevec, bytevec) IS 'taxicab distance';

CREATE FUNCTION vector_dims(bytevec) RETURNS integer
    AS 'MODULE_PATHNAME', 'bytevec_vector_dims' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_dims(bytevec) IS 'number of dimensions';

CREATE FUNCTION l2_norm(bytevec) RETURNS double precision
    AS 'MODULE_PATHNAME', 'bytevec_l2_norm' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_norm(bytevec) IS 'Euclidean norm';

CREATE FUNCTION binary_quantize(bytevec) RETURNS bit
    AS 'MODULE_PATHNAME', 'bytevec_binary_quantize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION binary_quantize(bytevec) IS 'binary quantize';

CREATE FUNCTION subvector(bytevec, integer, integer) RETURNS bytevec
    AS 'MODULE_PATHNAME', 'bytevec_subvector' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION subvector(bytevec, integer, integer) IS 'subvector';

-- functions behind operators, operator classes and aggregates

CREATE FUNCTION bytevec_add(bytevec, bytevec) RETURNS bytevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_add(bytevec, bytevec) IS 'implementation of + operator';

CREATE FUNCTION bytevec_sub(bytevec, bytevec) RETURNS bytevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_sub(bytevec, bytevec) IS 'implementation of - operator';

CREATE FUNCTION bytevec_mul(bytevec, bytevec) RETURNS bytevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_mul(bytevec, bytevec) IS 'implementation of * operator';

CREATE FUNCTION bytevec_concat(bytevec, bytevec) RETURNS bytevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_concat(bytevec, bytevec) IS 'implementation of || operator';

CREATE FUNCTION bytevec_lt(bytevec, bytevec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_lt(bytevec, bytevec) IS 'implementation of < operator';

CREATE FUNCTION bytevec_le(bytevec, bytevec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_le(bytevec, bytevec) IS 'implementation of <= operator';

CREATE FUNCTION bytevec_eq(bytevec, bytevec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_eq(bytevec, bytevec) IS 'implementation of = operator';

CREATE FUNCTION bytevec_ne(bytevec, bytevec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_ne(bytevec, bytevec) IS 'implementation of <> operator';

CREATE FUNCTION bytevec_ge(bytevec, bytevec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_ge(bytevec, bytevec) IS 'implementation of >= operator';

CREATE FUNCTION bytevec_gt(bytevec, bytevec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_gt(bytevec, bytevec) IS 'implementation of > operator';

CREATE FUNCTION bytevec_cmp(bytevec, bytevec) RETURNS integer
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_cmp(bytevec, bytevec) IS 'less-equal-greater';

CREATE FUNCTION bytevec_l2_squared_distance(bytevec, bytevec) RETURNS double precision
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_l2_squared_distance(bytevec, bytevec) IS 'squared Euclidean distance';

CREATE FUNCTION bytevec_negative_inner_product(bytevec, bytevec) RETURNS double precision
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_negative_inner_product(bytevec, bytevec) IS 'negative inner product';

CREATE FUNCTION bytevec_accum(double precision[], bytevec) RETURNS double precision[]
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_accum(double precision[], bytevec) IS 'aggregate transition function';

-- aggregates

-- elements hold neither sums nor means, so both are a vector

CREATE AGGREGATE avg(bytevec) (
    SFUNC = bytevec_accum,
    STYPE = double precision[],
    FINALFUNC = vector_avg,
    COMBINEFUNC = vector_combine,
    INITCOND = '{0}',
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE avg(bytevec) IS 'the average (arithmetic mean) as vector of all bytevec values';

CREATE AGGREGATE sum(bytevec) (
    SFUNC = bytevec_accum,
    STYPE = double precision[],
    FINALFUNC = vector_sum,
    COMBINEFUNC = vector_combine,
    INITCOND = '{0}',
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE sum(bytevec) IS 'sum as vector across all bytevec input values';

-- casts

CREATE FUNCTION bytevec(bytevec, integer, boolean) RETURNS bytevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec(bytevec, integer, boolean) IS 'adjust bytevec to typmod';

CREATE FUNCTION array_to_bytevec(smallint[], integer, boolean) RETURNS bytevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_bytevec(smallint[], integer, boolean) IS 'convert int2 array to bytevec';

CREATE FUNCTION array_to_bytevec(integer[], integer, boolean) RETURNS bytevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_bytevec(integer[], integer, boolean) IS 'convert int4 array to bytevec';

CREATE FUNCTION array_to_bytevec(real[], integer, boolean) RETURNS bytevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_bytevec(real[], integer, boolean) IS 'convert float4 array to bytevec';

CREATE FUNCTION array_to_bytevec(double precision[], integer, boolean) RETURNS bytevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_bytevec(double precision[], integer, boolean) IS 'convert float8 array to bytevec';

CREATE FUNCTION array_to_bytevec(numeric[], integer, boolean) RETURNS bytevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_bytevec(numeric[], integer, boolean) IS 'convert numeric array to bytevec';

CREATE FUNCTION bytevec_to_float4(bytevec, integer, boolean) RETURNS real[]
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_to_float4(bytevec, integer, boolean) IS 'convert bytevec to float4 array';

CREATE FUNCTION bytevec_to_int2(bytevec, integer, boolean) RETURNS smallint[]
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_to_int2(bytevec, integer, boolean) IS 'convert bytevec to int2 array';

CREATE FUNCTION bytevec_to_int4(bytevec, integer, boolean) RETURNS integer[]
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_to_int4(bytevec, integer, boolean) IS 'convert bytevec to int4 array';

-- What rounds to integers has to be asked for: embeddings between -1 and 1 would become zeros.

CREATE CAST (bytevec AS bytevec) WITH FUNCTION bytevec(bytevec, integer, boolean) AS IMPLICIT;
CREATE CAST (bytevec AS real[]) WITH FUNCTION bytevec_to_float4(bytevec, integer, boolean) AS ASSIGNMENT;
CREATE CAST (bytevec AS smallint[]) WITH FUNCTION bytevec_to_int2(bytevec, integer, boolean) AS ASSIGNMENT;
CREATE CAST (bytevec AS integer[]) WITH FUNCTION bytevec_to_int4(bytevec, integer, boolean) AS ASSIGNMENT;
CREATE CAST (smallint[] AS bytevec) WITH FUNCTION array_to_bytevec(smallint[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (integer[] AS bytevec) WITH FUNCTION array_to_bytevec(integer[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (real[] AS bytevec) WITH FUNCTION array_to_bytevec(real[], integer, boolean);
CREATE CAST (double precision[] AS bytevec) WITH FUNCTION array_to_bytevec(double precision[], integer, boolean);
CREATE CAST (numeric[] AS bytevec) WITH FUNCTION array_to_bytevec(numeric[], integer, boolean);

-- operators

CREATE OPERATOR <-> (
    LEFTARG = bytevec, RIGHTARG = bytevec, FUNCTION = l2_distance, COMMUTATOR = <->
);
COMMENT ON OPERATOR <-> (bytevec, bytevec) IS 'Euclidean distance';

CREATE OPERATOR <#> (
    LEFTARG = bytevec, RIGHTARG = bytevec, FUNCTION = bytevec_negative_inner_product, COMMUTATOR = <#>
);
COMMENT ON OPERATOR <#> (bytevec, bytevec) IS 'negative inner product';

CREATE OPERATOR <=> (
    LEFTARG = bytevec, RIGHTARG = bytevec, FUNCTION = cosine_distance, COMMUTATOR = <=>
);
COMMENT ON OPERATOR <=> (bytevec, bytevec) IS 'cosine distance';

CREATE OPERATOR <+> (
    LEFTARG = bytevec, RIGHTARG = bytevec, FUNCTION = l1_distance, COMMUTATOR = <+>
);
COMMENT ON OPERATOR <+> (bytevec, bytevec) IS 'taxicab distance';

CREATE OPERATOR + (
    LEFTARG = bytevec, RIGHTARG = bytevec, FUNCTION = bytevec_add, COMMUTATOR = +
);
COMMENT ON OPERATOR + (bytevec, bytevec) IS 'add';

CREATE OPERATOR - (
    LEFTARG = bytevec, RIGHTARG = bytevec, FUNCTION = bytevec_sub
);
COMMENT ON OPERATOR - (bytevec, bytevec) IS 'subtract';

CREATE OPERATOR * (
    LEFTARG = bytevec, RIGHTARG = bytevec, FUNCTION = bytevec_mul, COMMUTATOR = *
);
COMMENT ON OPERATOR * (bytevec, bytevec) IS 'multiply';

CREATE OPERATOR || (
    LEFTARG = bytevec, RIGHTARG = bytevec, FUNCTION = bytevec_concat
);
COMMENT ON OPERATOR || (bytevec, bytevec) IS 'concatenate';

CREATE OPERATOR < (
    LEFTARG = bytevec, RIGHTARG = bytevec, FUNCTION = bytevec_lt,
    COMMUTATOR = >, NEGATOR = >=,
    RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR < (bytevec, bytevec) IS 'less than';

CREATE OPERATOR <= (
    LEFTARG = bytevec, RIGHTARG = bytevec, FUNCTION = bytevec_le,
    COMMUTATOR = >=, NEGATOR = >,
    RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR <= (bytevec, bytevec) IS 'less than or equal';

CREATE OPERATOR = (
    LEFTARG = bytevec, RIGHTARG = bytevec, FUNCTION = bytevec_eq,
    COMMUTATOR = =, NEGATOR = <>,
    RESTRICT = eqsel, JOIN = eqjoinsel
);
COMMENT ON OPERATOR = (bytevec, bytevec) IS 'equal';

CREATE OPERATOR <> (
    LEFTARG = bytevec, RIGHTARG = bytevec, FUNCTION = bytevec_ne,
    COMMUTATOR = <>, NEGATOR = =,
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR <> (bytevec, bytevec) IS 'not equal';

CREATE OPERATOR >= (
    LEFTARG = bytevec, RIGHTARG = bytevec, FUNCTION = bytevec_ge,
    COMMUTATOR = <=, NEGATOR = <,
    RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR >= (bytevec, bytevec) IS 'greater than or equal';

CREATE OPERATOR > (
    LEFTARG = bytevec, RIGHTARG = bytevec, FUNCTION = bytevec_gt,
    COMMUTATOR = <, NEGATOR = <=,
    RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR > (bytevec, bytevec) IS 'greater than';

CREATE OPERATOR CLASS bytevec_ops DEFAULT FOR TYPE bytevec USING btree AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 bytevec_cmp(bytevec, bytevec);

-- ======================================================================================= bit

CREATE FUNCTION hamming_distance(bit, bit) RETURNS float8
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hamming_distance(bit, bit) IS 'Hamming distance';

CREATE FUNCTION jaccard_distance(bit, bit) RETURNS float8
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION jaccard_distance(bit, bit) IS 'Jaccard distance';

CREATE OPERATOR <~> (
    LEFTARG = bit, RIGHTARG = bit, FUNCTION = hamming_distance, COMMUTATOR = <~>
);
COMMENT ON OPERATOR <~> (bit, bit) IS 'Hamming distance';

CREATE OPERATOR <%> (
    LEFTARG = bit, RIGHTARG = bit, FUNCTION = jaccard_distance, COMMUTATOR = <%>
);
COMMENT ON OPERATOR <%> (bit, bit) IS 'Jaccard distance';

-- ================================================================================= sparsevec

CREATE TYPE sparsevec;

CREATE FUNCTION sparsevec_in(cstring, oid, integer) RETURNS sparsevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_in(cstring, oid, integer) IS 'I/O';

CREATE FUNCTION sparsevec_out(sparsevec) RETURNS cstring
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_out(sparsevec) IS 'I/O';

CREATE FUNCTION sparsevec_typmod_in(cstring[]) RETURNS integer
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_typmod_in(cstring[]) IS 'I/O typmod';

CREATE FUNCTION sparsevec_recv(internal, oid, integer) RETURNS sparsevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_recv(internal, oid, integer) IS 'I/O';

CREATE FUNCTION sparsevec_send(sparsevec) RETURNS bytea
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_send(sparsevec) IS 'I/O';

CREATE TYPE sparsevec (
    INPUT     = sparsevec_in,
    OUTPUT    = sparsevec_out,
    TYPMOD_IN = sparsevec_typmod_in,
    RECEIVE   = sparsevec_recv,
    SEND      = sparsevec_send,
    STORAGE   = external
);
COMMENT ON TYPE sparsevec IS 'single-precision sparse vector';

-- functions

CREATE FUNCTION l2_distance(sparsevec, sparsevec) RETURNS float8
    AS 'MODULE_PATHNAME', 'sparsevec_l2_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_distance(sparsevec, sparsevec) IS 'Euclidean distance';

CREATE FUNCTION inner_product(sparsevec, sparsevec) RETURNS float8
    AS 'MODULE_PATHNAME', 'sparsevec_inner_product' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION inner_product(sparsevec, sparsevec) IS 'inner product';

CREATE FUNCTION cosine_distance(sparsevec, sparsevec) RETURNS float8
    AS 'MODULE_PATHNAME', 'sparsevec_cosine_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION cosine_distance(sparsevec, sparsevec) IS 'cosine distance';

CREATE FUNCTION l1_distance(sparsevec, sparsevec) RETURNS float8
    AS 'MODULE_PATHNAME', 'sparsevec_l1_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l1_distance(sparsevec, sparsevec) IS 'taxicab distance';

CREATE FUNCTION l2_norm(sparsevec) RETURNS float8
    AS 'MODULE_PATHNAME', 'sparsevec_l2_norm' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_norm(sparsevec) IS 'Euclidean norm';

CREATE FUNCTION l2_normalize(sparsevec) RETURNS sparsevec
    AS 'MODULE_PATHNAME', 'sparsevec_l2_normalize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION l2_normalize(sparsevec) IS 'normalize with Euclidean norm';

-- functions behind operators and operator classes

CREATE FUNCTION sparsevec_lt(sparsevec, sparsevec) RETURNS bool
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_lt(sparsevec, sparsevec) IS 'implementation of < operator';

CREATE FUNCTION sparsevec_le(sparsevec, sparsevec) RETURNS bool
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_le(sparsevec, sparsevec) IS 'implementation of <= operator';

CREATE FUNCTION sparsevec_eq(sparsevec, sparsevec) RETURNS bool
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_eq(sparsevec, sparsevec) IS 'implementation of = operator';

CREATE FUNCTION sparsevec_ne(sparsevec, sparsevec) RETURNS bool
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_ne(sparsevec, sparsevec) IS 'implementation of <> operator';

CREATE FUNCTION sparsevec_ge(sparsevec, sparsevec) RETURNS bool
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_ge(sparsevec, sparsevec) IS 'implementation of >= operator';

CREATE FUNCTION sparsevec_gt(sparsevec, sparsevec) RETURNS bool
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_gt(sparsevec, sparsevec) IS 'implementation of > operator';

CREATE FUNCTION sparsevec_cmp(sparsevec, sparsevec) RETURNS int4
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_cmp(sparsevec, sparsevec) IS 'less-equal-greater';

CREATE FUNCTION sparsevec_l2_squared_distance(sparsevec, sparsevec) RETURNS float8
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_l2_squared_distance(sparsevec, sparsevec) IS 'squared Euclidean distance';

CREATE FUNCTION sparsevec_negative_inner_product(sparsevec, sparsevec) RETURNS float8
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_negative_inner_product(sparsevec, sparsevec) IS 'negative inner product';

-- operators

CREATE OPERATOR <-> (
    LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = l2_distance, COMMUTATOR = <->
);
COMMENT ON OPERATOR <-> (sparsevec, sparsevec) IS 'Euclidean distance';

CREATE OPERATOR <#> (
    LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_negative_inner_product, COMMUTATOR = <#>
);
COMMENT ON OPERATOR <#> (sparsevec, sparsevec) IS 'negative inner product';

CREATE OPERATOR <=> (
    LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = cosine_distance, COMMUTATOR = <=>
);
COMMENT ON OPERATOR <=> (sparsevec, sparsevec) IS 'cosine distance';

CREATE OPERATOR <+> (
    LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = l1_distance, COMMUTATOR = <+>
);
COMMENT ON OPERATOR <+> (sparsevec, sparsevec) IS 'taxicab distance';

CREATE OPERATOR < (
    LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_lt, COMMUTATOR = >, NEGATOR = >=,
    RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR < (sparsevec, sparsevec) IS 'less than';

CREATE OPERATOR <= (
    LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_le, COMMUTATOR = >=, NEGATOR = >,
    RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR <= (sparsevec, sparsevec) IS 'less than or equal';

CREATE OPERATOR = (
    LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_eq, COMMUTATOR = =, NEGATOR = <>,
    RESTRICT = eqsel, JOIN = eqjoinsel
);
COMMENT ON OPERATOR = (sparsevec, sparsevec) IS 'equal';

CREATE OPERATOR <> (
    LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_ne, COMMUTATOR = <>, NEGATOR = =,
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR <> (sparsevec, sparsevec) IS 'not equal';

CREATE OPERATOR >= (
    LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_ge, COMMUTATOR = <=, NEGATOR = <,
    RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR >= (sparsevec, sparsevec) IS 'greater than or equal';

CREATE OPERATOR > (
    LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_gt, COMMUTATOR = <, NEGATOR = <=,
    RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR > (sparsevec, sparsevec) IS 'greater than';

CREATE OPERATOR CLASS sparsevec_ops DEFAULT FOR TYPE sparsevec USING btree AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 sparsevec_cmp(sparsevec, sparsevec);
COMMENT ON OPERATOR CLASS sparsevec_ops USING btree IS 'order of the dense vectors as arrays';

-- ====================================================== casts between the vector types

CREATE FUNCTION halfvec_to_vector(halfvec, integer, boolean) RETURNS vector
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_to_vector(halfvec, integer, boolean) IS 'convert halfvec to vector';
CREATE CAST (halfvec AS vector) WITH FUNCTION halfvec_to_vector(halfvec, integer, boolean) AS ASSIGNMENT;

CREATE FUNCTION vector_to_halfvec(vector, integer, boolean) RETURNS halfvec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_to_halfvec(vector, integer, boolean) IS 'convert vector to halfvec';
CREATE CAST (vector AS halfvec) WITH FUNCTION vector_to_halfvec(vector, integer, boolean) AS IMPLICIT;

CREATE FUNCTION sparsevec(sparsevec, integer, boolean) RETURNS sparsevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec(sparsevec, integer, boolean) IS 'adjust sparsevec to typmod';

CREATE FUNCTION vector_to_sparsevec(vector, integer, boolean) RETURNS sparsevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_to_sparsevec(vector, integer, boolean) IS 'convert vector to sparsevec';

CREATE FUNCTION sparsevec_to_vector(sparsevec, integer, boolean) RETURNS vector
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_to_vector(sparsevec, integer, boolean) IS 'convert sparsevec to vector';

CREATE FUNCTION halfvec_to_sparsevec(halfvec, integer, boolean) RETURNS sparsevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_to_sparsevec(halfvec, integer, boolean) IS 'convert halfvec to sparsevec';

CREATE FUNCTION sparsevec_to_halfvec(sparsevec, integer, boolean) RETURNS halfvec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_to_halfvec(sparsevec, integer, boolean) IS 'convert sparsevec to halfvec';

CREATE FUNCTION array_to_sparsevec(smallint[], integer, boolean) RETURNS sparsevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_sparsevec(smallint[], integer, boolean) IS 'convert int2 array to sparsevec';

CREATE FUNCTION array_to_sparsevec(integer[], integer, boolean) RETURNS sparsevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_sparsevec(integer[], integer, boolean) IS 'convert int4 array to sparsevec';

CREATE FUNCTION array_to_sparsevec(real[], integer, boolean) RETURNS sparsevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_sparsevec(real[], integer, boolean) IS 'convert float4 array to sparsevec';

CREATE FUNCTION array_to_sparsevec(double precision[], integer, boolean) RETURNS sparsevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_sparsevec(double precision[], integer, boolean) IS 'convert float8 array to sparsevec';

CREATE FUNCTION array_to_sparsevec(numeric[], integer, boolean) RETURNS sparsevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_sparsevec(numeric[], integer, boolean) IS 'convert numeric array to sparsevec';

CREATE CAST (sparsevec AS sparsevec) WITH FUNCTION sparsevec(sparsevec, integer, boolean) AS IMPLICIT;
CREATE CAST (sparsevec AS vector) WITH FUNCTION sparsevec_to_vector(sparsevec, integer, boolean) AS ASSIGNMENT;
CREATE CAST (vector AS sparsevec) WITH FUNCTION vector_to_sparsevec(vector, integer, boolean) AS IMPLICIT;
CREATE CAST (sparsevec AS halfvec) WITH FUNCTION sparsevec_to_halfvec(sparsevec, integer, boolean) AS ASSIGNMENT;
CREATE CAST (halfvec AS sparsevec) WITH FUNCTION halfvec_to_sparsevec(halfvec, integer, boolean) AS IMPLICIT;
CREATE CAST (smallint[] AS sparsevec) WITH FUNCTION array_to_sparsevec(smallint[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (integer[] AS sparsevec) WITH FUNCTION array_to_sparsevec(integer[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (real[] AS sparsevec) WITH FUNCTION array_to_sparsevec(real[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (double precision[] AS sparsevec) WITH FUNCTION array_to_sparsevec(double precision[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (numeric[] AS sparsevec) WITH FUNCTION array_to_sparsevec(numeric[], integer, boolean) AS ASSIGNMENT;

-- bf16vec: as halfvec, so that a vector as a parameter uses the index of a bf16vec column. The cast to
-- sparsevec is no implicit one, for else bf16vec and halfvec would be compared as sparsevec.

CREATE FUNCTION bf16vec_to_vector(bf16vec, integer, boolean) RETURNS vector
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_to_vector(bf16vec, integer, boolean) IS 'convert bf16vec to vector';
CREATE CAST (bf16vec AS vector) WITH FUNCTION bf16vec_to_vector(bf16vec, integer, boolean) AS ASSIGNMENT;

CREATE FUNCTION vector_to_bf16vec(vector, integer, boolean) RETURNS bf16vec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_to_bf16vec(vector, integer, boolean) IS 'convert vector to bf16vec';
CREATE CAST (vector AS bf16vec) WITH FUNCTION vector_to_bf16vec(vector, integer, boolean) AS IMPLICIT;

CREATE FUNCTION bf16vec_to_halfvec(bf16vec, integer, boolean) RETURNS halfvec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_to_halfvec(bf16vec, integer, boolean) IS 'convert bf16vec to halfvec';
CREATE CAST (bf16vec AS halfvec) WITH FUNCTION bf16vec_to_halfvec(bf16vec, integer, boolean) AS ASSIGNMENT;

CREATE FUNCTION halfvec_to_bf16vec(halfvec, integer, boolean) RETURNS bf16vec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_to_bf16vec(halfvec, integer, boolean) IS 'convert halfvec to bf16vec';
CREATE CAST (halfvec AS bf16vec) WITH FUNCTION halfvec_to_bf16vec(halfvec, integer, boolean) AS ASSIGNMENT;

CREATE FUNCTION bf16vec_to_sparsevec(bf16vec, integer, boolean) RETURNS sparsevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_to_sparsevec(bf16vec, integer, boolean) IS 'convert bf16vec to sparsevec';
CREATE CAST (bf16vec AS sparsevec) WITH FUNCTION bf16vec_to_sparsevec(bf16vec, integer, boolean) AS ASSIGNMENT;

CREATE FUNCTION sparsevec_to_bf16vec(sparsevec, integer, boolean) RETURNS bf16vec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_to_bf16vec(sparsevec, integer, boolean) IS 'convert sparsevec to bf16vec';
CREATE CAST (sparsevec AS bf16vec) WITH FUNCTION sparsevec_to_bf16vec(sparsevec, integer, boolean) AS ASSIGNMENT;

-- bytevec: exact one way; what rounds to integers has to be asked for

CREATE FUNCTION bytevec_to_vector(bytevec, integer, boolean) RETURNS vector
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_to_vector(bytevec, integer, boolean) IS 'convert bytevec to vector';
CREATE CAST (bytevec AS vector) WITH FUNCTION bytevec_to_vector(bytevec, integer, boolean) AS ASSIGNMENT;

CREATE FUNCTION vector_to_bytevec(vector, integer, boolean) RETURNS bytevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_to_bytevec(vector, integer, boolean) IS 'convert vector to bytevec';
CREATE CAST (vector AS bytevec) WITH FUNCTION vector_to_bytevec(vector, integer, boolean);

CREATE FUNCTION bytevec_to_halfvec(bytevec, integer, boolean) RETURNS halfvec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_to_halfvec(bytevec, integer, boolean) IS 'convert bytevec to halfvec';
CREATE CAST (bytevec AS halfvec) WITH FUNCTION bytevec_to_halfvec(bytevec, integer, boolean) AS ASSIGNMENT;

CREATE FUNCTION halfvec_to_bytevec(halfvec, integer, boolean) RETURNS bytevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_to_bytevec(halfvec, integer, boolean) IS 'convert halfvec to bytevec';
CREATE CAST (halfvec AS bytevec) WITH FUNCTION halfvec_to_bytevec(halfvec, integer, boolean);

CREATE FUNCTION bytevec_to_bf16vec(bytevec, integer, boolean) RETURNS bf16vec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_to_bf16vec(bytevec, integer, boolean) IS 'convert bytevec to bf16vec';
CREATE CAST (bytevec AS bf16vec) WITH FUNCTION bytevec_to_bf16vec(bytevec, integer, boolean) AS ASSIGNMENT;

CREATE FUNCTION bf16vec_to_bytevec(bf16vec, integer, boolean) RETURNS bytevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_to_bytevec(bf16vec, integer, boolean) IS 'convert bf16vec to bytevec';
CREATE CAST (bf16vec AS bytevec) WITH FUNCTION bf16vec_to_bytevec(bf16vec, integer, boolean);

CREATE FUNCTION bytevec_to_sparsevec(bytevec, integer, boolean) RETURNS sparsevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_to_sparsevec(bytevec, integer, boolean) IS 'convert bytevec to sparsevec';
CREATE CAST (bytevec AS sparsevec) WITH FUNCTION bytevec_to_sparsevec(bytevec, integer, boolean) AS ASSIGNMENT;

CREATE FUNCTION sparsevec_to_bytevec(sparsevec, integer, boolean) RETURNS bytevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_to_bytevec(sparsevec, integer, boolean) IS 'convert sparsevec to bytevec';
CREATE CAST (sparsevec AS bytevec) WITH FUNCTION sparsevec_to_bytevec(sparsevec, integer, boolean);

-- =================================================================================== quantizing

-- quantize_to_bytevec(v, quantile): 127 stands for the quantile of the magnitudes of v itself.
-- quantize_to_bytevec(v, lower, upper): -127 stands for lower, 127 for upper.
-- What is beyond is clipped.

CREATE FUNCTION quantize_to_bytevec(vector, quantile double precision DEFAULT 0.99) RETURNS bytevec
    AS 'MODULE_PATHNAME', 'vector_quantize_to_bytevec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quantize_to_bytevec(vector, double precision) IS 'scale to signed bytes by a quantile of the magnitudes';

CREATE FUNCTION quantize_to_bytevec(vector, lower double precision, upper double precision) RETURNS bytevec
    AS 'MODULE_PATHNAME', 'vector_quantize_between' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quantize_to_bytevec(vector, double precision, double precision) IS 'scale to signed bytes between two bounds';

CREATE FUNCTION quantize_to_bytevec(halfvec, quantile double precision DEFAULT 0.99) RETURNS bytevec
    AS 'MODULE_PATHNAME', 'halfvec_quantize_to_bytevec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quantize_to_bytevec(halfvec, double precision) IS 'scale to signed bytes by a quantile of the magnitudes';

CREATE FUNCTION quantize_to_bytevec(halfvec, lower double precision, upper double precision) RETURNS bytevec
    AS 'MODULE_PATHNAME', 'halfvec_quantize_between' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quantize_to_bytevec(halfvec, double precision, double precision) IS 'scale to signed bytes between two bounds';

CREATE FUNCTION quantize_to_bytevec(bf16vec, quantile double precision DEFAULT 0.99) RETURNS bytevec
    AS 'MODULE_PATHNAME', 'bf16vec_quantize_to_bytevec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quantize_to_bytevec(bf16vec, double precision) IS 'scale to signed bytes by a quantile of the magnitudes';

CREATE FUNCTION quantize_to_bytevec(bf16vec, lower double precision, upper double precision) RETURNS bytevec
    AS 'MODULE_PATHNAME', 'bf16vec_quantize_between' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION quantize_to_bytevec(bf16vec, double precision, double precision) IS 'scale to signed bytes between two bounds';

-- binary_quantize(v, threshold): a bit is set where the element is above the threshold

CREATE FUNCTION binary_quantize(vector, threshold double precision) RETURNS bit
    AS 'MODULE_PATHNAME', 'binary_quantize_above' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION binary_quantize(vector, double precision) IS 'binary quantize by a threshold';

CREATE FUNCTION binary_quantize(halfvec, threshold double precision) RETURNS bit
    AS 'MODULE_PATHNAME', 'halfvec_binary_quantize_above' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION binary_quantize(halfvec, double precision) IS 'binary quantize by a threshold';

CREATE FUNCTION binary_quantize(bf16vec, threshold double precision) RETURNS bit
    AS 'MODULE_PATHNAME', 'bf16vec_binary_quantize_above' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION binary_quantize(bf16vec, double precision) IS 'binary quantize by a threshold';

CREATE FUNCTION binary_quantize(bytevec, threshold double precision) RETURNS bit
    AS 'MODULE_PATHNAME', 'bytevec_binary_quantize_above' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION binary_quantize(bytevec, double precision) IS 'binary quantize by a threshold';

-- ====================================================================================== spheres

-- WHERE embedding <<=>> sphere($1, 0.3) says what WHERE embedding <=> $1 < 0.3 does, as one operator that
-- an index can serve. Nothing is in a sphere whose centre or radius is NULL.

CREATE TYPE sphere_vector AS (center vector, radius double precision);
COMMENT ON TYPE sphere_vector IS 'what is nearer to a vector than a radius';

CREATE FUNCTION sphere(vector, double precision) RETURNS sphere_vector
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sphere(vector, double precision) IS 'sphere of a centre and a radius';

CREATE FUNCTION vector_in_l2_sphere(vector, sphere_vector) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_in_l2_sphere(vector, sphere_vector) IS 'implementation of <<->> operator';

CREATE OPERATOR <<->> (
    LEFTARG = vector, RIGHTARG = sphere_vector, FUNCTION = vector_in_l2_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<->> (vector, sphere_vector) IS 'Euclidean distance to the centre less than the radius';

CREATE FUNCTION vector_in_ip_sphere(vector, sphere_vector) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_in_ip_sphere(vector, sphere_vector) IS 'implementation of <<#>> operator';

CREATE OPERATOR <<#>> (
    LEFTARG = vector, RIGHTARG = sphere_vector, FUNCTION = vector_in_ip_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<#>> (vector, sphere_vector) IS 'negative inner product to the centre less than the radius';

CREATE FUNCTION vector_in_cosine_sphere(vector, sphere_vector) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_in_cosine_sphere(vector, sphere_vector) IS 'implementation of <<=>> operator';

CREATE OPERATOR <<=>> (
    LEFTARG = vector, RIGHTARG = sphere_vector, FUNCTION = vector_in_cosine_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<=>> (vector, sphere_vector) IS 'cosine distance to the centre less than the radius';

CREATE FUNCTION vector_in_l1_sphere(vector, sphere_vector) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_in_l1_sphere(vector, sphere_vector) IS 'implementation of <<+>> operator';

CREATE OPERATOR <<+>> (
    LEFTARG = vector, RIGHTARG = sphere_vector, FUNCTION = vector_in_l1_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<+>> (vector, sphere_vector) IS 'taxicab distance to the centre less than the radius';

CREATE TYPE sphere_halfvec AS (center halfvec, radius double precision);
COMMENT ON TYPE sphere_halfvec IS 'what is nearer to a halfvec than a radius';

CREATE FUNCTION sphere(halfvec, double precision) RETURNS sphere_halfvec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sphere(halfvec, double precision) IS 'sphere of a centre and a radius';

CREATE FUNCTION halfvec_in_l2_sphere(halfvec, sphere_halfvec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_in_l2_sphere(halfvec, sphere_halfvec) IS 'implementation of <<->> operator';

CREATE OPERATOR <<->> (
    LEFTARG = halfvec, RIGHTARG = sphere_halfvec, FUNCTION = halfvec_in_l2_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<->> (halfvec, sphere_halfvec) IS 'Euclidean distance to the centre less than the radius';

CREATE FUNCTION halfvec_in_ip_sphere(halfvec, sphere_halfvec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_in_ip_sphere(halfvec, sphere_halfvec) IS 'implementation of <<#>> operator';

CREATE OPERATOR <<#>> (
    LEFTARG = halfvec, RIGHTARG = sphere_halfvec, FUNCTION = halfvec_in_ip_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<#>> (halfvec, sphere_halfvec) IS 'negative inner product to the centre less than the radius';

CREATE FUNCTION halfvec_in_cosine_sphere(halfvec, sphere_halfvec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_in_cosine_sphere(halfvec, sphere_halfvec) IS 'implementation of <<=>> operator';

CREATE OPERATOR <<=>> (
    LEFTARG = halfvec, RIGHTARG = sphere_halfvec, FUNCTION = halfvec_in_cosine_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<=>> (halfvec, sphere_halfvec) IS 'cosine distance to the centre less than the radius';

CREATE FUNCTION halfvec_in_l1_sphere(halfvec, sphere_halfvec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_in_l1_sphere(halfvec, sphere_halfvec) IS 'implementation of <<+>> operator';

CREATE OPERATOR <<+>> (
    LEFTARG = halfvec, RIGHTARG = sphere_halfvec, FUNCTION = halfvec_in_l1_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<+>> (halfvec, sphere_halfvec) IS 'taxicab distance to the centre less than the radius';

CREATE TYPE sphere_bf16vec AS (center bf16vec, radius double precision);
COMMENT ON TYPE sphere_bf16vec IS 'what is nearer to a bf16vec than a radius';

CREATE FUNCTION sphere(bf16vec, double precision) RETURNS sphere_bf16vec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sphere(bf16vec, double precision) IS 'sphere of a centre and a radius';

CREATE FUNCTION bf16vec_in_l2_sphere(bf16vec, sphere_bf16vec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_in_l2_sphere(bf16vec, sphere_bf16vec) IS 'implementation of <<->> operator';

CREATE OPERATOR <<->> (
    LEFTARG = bf16vec, RIGHTARG = sphere_bf16vec, FUNCTION = bf16vec_in_l2_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<->> (bf16vec, sphere_bf16vec) IS 'Euclidean distance to the centre less than the radius';

CREATE FUNCTION bf16vec_in_ip_sphere(bf16vec, sphere_bf16vec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_in_ip_sphere(bf16vec, sphere_bf16vec) IS 'implementation of <<#>> operator';

CREATE OPERATOR <<#>> (
    LEFTARG = bf16vec, RIGHTARG = sphere_bf16vec, FUNCTION = bf16vec_in_ip_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<#>> (bf16vec, sphere_bf16vec) IS 'negative inner product to the centre less than the radius';

CREATE FUNCTION bf16vec_in_cosine_sphere(bf16vec, sphere_bf16vec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_in_cosine_sphere(bf16vec, sphere_bf16vec) IS 'implementation of <<=>> operator';

CREATE OPERATOR <<=>> (
    LEFTARG = bf16vec, RIGHTARG = sphere_bf16vec, FUNCTION = bf16vec_in_cosine_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<=>> (bf16vec, sphere_bf16vec) IS 'cosine distance to the centre less than the radius';

CREATE FUNCTION bf16vec_in_l1_sphere(bf16vec, sphere_bf16vec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bf16vec_in_l1_sphere(bf16vec, sphere_bf16vec) IS 'implementation of <<+>> operator';

CREATE OPERATOR <<+>> (
    LEFTARG = bf16vec, RIGHTARG = sphere_bf16vec, FUNCTION = bf16vec_in_l1_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<+>> (bf16vec, sphere_bf16vec) IS 'taxicab distance to the centre less than the radius';

CREATE TYPE sphere_bytevec AS (center bytevec, radius double precision);
COMMENT ON TYPE sphere_bytevec IS 'what is nearer to a bytevec than a radius';

CREATE FUNCTION sphere(bytevec, double precision) RETURNS sphere_bytevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sphere(bytevec, double precision) IS 'sphere of a centre and a radius';

CREATE FUNCTION bytevec_in_l2_sphere(bytevec, sphere_bytevec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_in_l2_sphere(bytevec, sphere_bytevec) IS 'implementation of <<->> operator';

CREATE OPERATOR <<->> (
    LEFTARG = bytevec, RIGHTARG = sphere_bytevec, FUNCTION = bytevec_in_l2_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<->> (bytevec, sphere_bytevec) IS 'Euclidean distance to the centre less than the radius';

CREATE FUNCTION bytevec_in_ip_sphere(bytevec, sphere_bytevec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_in_ip_sphere(bytevec, sphere_bytevec) IS 'implementation of <<#>> operator';

CREATE OPERATOR <<#>> (
    LEFTARG = bytevec, RIGHTARG = sphere_bytevec, FUNCTION = bytevec_in_ip_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<#>> (bytevec, sphere_bytevec) IS 'negative inner product to the centre less than the radius';

CREATE FUNCTION bytevec_in_cosine_sphere(bytevec, sphere_bytevec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_in_cosine_sphere(bytevec, sphere_bytevec) IS 'implementation of <<=>> operator';

CREATE OPERATOR <<=>> (
    LEFTARG = bytevec, RIGHTARG = sphere_bytevec, FUNCTION = bytevec_in_cosine_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<=>> (bytevec, sphere_bytevec) IS 'cosine distance to the centre less than the radius';

CREATE FUNCTION bytevec_in_l1_sphere(bytevec, sphere_bytevec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bytevec_in_l1_sphere(bytevec, sphere_bytevec) IS 'implementation of <<+>> operator';

CREATE OPERATOR <<+>> (
    LEFTARG = bytevec, RIGHTARG = sphere_bytevec, FUNCTION = bytevec_in_l1_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<+>> (bytevec, sphere_bytevec) IS 'taxicab distance to the centre less than the radius';

CREATE TYPE sphere_sparsevec AS (center sparsevec, radius double precision);
COMMENT ON TYPE sphere_sparsevec IS 'what is nearer to a sparsevec than a radius';

CREATE FUNCTION sphere(sparsevec, double precision) RETURNS sphere_sparsevec
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sphere(sparsevec, double precision) IS 'sphere of a centre and a radius';

CREATE FUNCTION sparsevec_in_l2_sphere(sparsevec, sphere_sparsevec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_in_l2_sphere(sparsevec, sphere_sparsevec) IS 'implementation of <<->> operator';

CREATE OPERATOR <<->> (
    LEFTARG = sparsevec, RIGHTARG = sphere_sparsevec, FUNCTION = sparsevec_in_l2_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<->> (sparsevec, sphere_sparsevec) IS 'Euclidean distance to the centre less than the radius';

CREATE FUNCTION sparsevec_in_ip_sphere(sparsevec, sphere_sparsevec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_in_ip_sphere(sparsevec, sphere_sparsevec) IS 'implementation of <<#>> operator';

CREATE OPERATOR <<#>> (
    LEFTARG = sparsevec, RIGHTARG = sphere_sparsevec, FUNCTION = sparsevec_in_ip_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<#>> (sparsevec, sphere_sparsevec) IS 'negative inner product to the centre less than the radius';

CREATE FUNCTION sparsevec_in_cosine_sphere(sparsevec, sphere_sparsevec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_in_cosine_sphere(sparsevec, sphere_sparsevec) IS 'implementation of <<=>> operator';

CREATE OPERATOR <<=>> (
    LEFTARG = sparsevec, RIGHTARG = sphere_sparsevec, FUNCTION = sparsevec_in_cosine_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<=>> (sparsevec, sphere_sparsevec) IS 'cosine distance to the centre less than the radius';

CREATE FUNCTION sparsevec_in_l1_sphere(sparsevec, sphere_sparsevec) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_in_l1_sphere(sparsevec, sphere_sparsevec) IS 'implementation of <<+>> operator';

CREATE OPERATOR <<+>> (
    LEFTARG = sparsevec, RIGHTARG = sphere_sparsevec, FUNCTION = sparsevec_in_l1_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<+>> (sparsevec, sphere_sparsevec) IS 'taxicab distance to the centre less than the radius';

CREATE TYPE sphere_bit AS (center "bit", radius double precision);
COMMENT ON TYPE sphere_bit IS 'what is nearer to a bit than a radius';

CREATE FUNCTION sphere(bit, double precision) RETURNS sphere_bit
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sphere(bit, double precision) IS 'sphere of a centre and a radius';

CREATE FUNCTION bit_in_hamming_sphere(bit, sphere_bit) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bit_in_hamming_sphere(bit, sphere_bit) IS 'implementation of <<~>> operator';

CREATE OPERATOR <<~>> (
    LEFTARG = bit, RIGHTARG = sphere_bit, FUNCTION = bit_in_hamming_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<~>> (bit, sphere_bit) IS 'Hamming distance to the centre less than the radius';

CREATE FUNCTION bit_in_jaccard_sphere(bit, sphere_bit) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bit_in_jaccard_sphere(bit, sphere_bit) IS 'implementation of <<%>> operator';

CREATE OPERATOR <<%>> (
    LEFTARG = bit, RIGHTARG = sphere_bit, FUNCTION = bit_in_jaccard_sphere,
    RESTRICT = areasel, JOIN = areajoinsel
);
COMMENT ON OPERATOR <<%>> (bit, sphere_bit) IS 'Jaccard distance to the centre less than the radius';

-- ============================================================================= access methods

CREATE FUNCTION hnswhandler(internal) RETURNS index_am_handler
	AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION hnswhandler(internal) IS 'hnsw index access method handler';

CREATE ACCESS METHOD hnsw TYPE INDEX HANDLER hnswhandler;

COMMENT ON ACCESS METHOD hnsw IS 'hnsw index access method';

-- Support function 1 of an operator class names its element type and metric to the access method.

CREATE FUNCTION vector_l2_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_ip_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_cosine_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_l1_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION halfvec_l2_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION halfvec_ip_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION halfvec_cosine_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION halfvec_l1_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION bf16vec_l2_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION bf16vec_ip_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION bf16vec_cosine_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION bf16vec_l1_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION bytevec_l2_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION bytevec_ip_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION bytevec_cosine_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION bytevec_l1_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION bit_hamming_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION bit_jaccard_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION sparsevec_l2_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION sparsevec_ip_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION sparsevec_cosine_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION sparsevec_l1_space() RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS vector_l2_ops
	FOR TYPE vector USING hnsw AS
	OPERATOR 1 <-> (vector, vector) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<->> (vector, sphere_vector),
	FUNCTION 1 vector_l2_space();

CREATE OPERATOR CLASS vector_ip_ops
	FOR TYPE vector USING hnsw AS
	OPERATOR 1 <#> (vector, vector) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<#>> (vector, sphere_vector),
	FUNCTION 1 vector_ip_space();

CREATE OPERATOR CLASS vector_cosine_ops
	FOR TYPE vector USING hnsw AS
	OPERATOR 1 <=> (vector, vector) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<=>> (vector, sphere_vector),
	FUNCTION 1 vector_cosine_space();

CREATE OPERATOR CLASS vector_l1_ops
	FOR TYPE vector USING hnsw AS
	OPERATOR 1 <+> (vector, vector) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<+>> (vector, sphere_vector),
	FUNCTION 1 vector_l1_space();

CREATE OPERATOR CLASS halfvec_l2_ops
	FOR TYPE halfvec USING hnsw AS
	OPERATOR 1 <-> (halfvec, halfvec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<->> (halfvec, sphere_halfvec),
	FUNCTION 1 halfvec_l2_space();

CREATE OPERATOR CLASS halfvec_ip_ops
	FOR TYPE halfvec USING hnsw AS
	OPERATOR 1 <#> (halfvec, halfvec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<#>> (halfvec, sphere_halfvec),
	FUNCTION 1 halfvec_ip_space();

CREATE OPERATOR CLASS halfvec_cosine_ops
	FOR TYPE halfvec USING hnsw AS
	OPERATOR 1 <=> (halfvec, halfvec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<=>> (halfvec, sphere_halfvec),
	FUNCTION 1 halfvec_cosine_space();

CREATE OPERATOR CLASS halfvec_l1_ops
	FOR TYPE halfvec USING hnsw AS
	OPERATOR 1 <+> (halfvec, halfvec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<+>> (halfvec, sphere_halfvec),
	FUNCTION 1 halfvec_l1_space();

CREATE OPERATOR CLASS bf16vec_l2_ops
	FOR TYPE bf16vec USING hnsw AS
	OPERATOR 1 <-> (bf16vec, bf16vec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<->> (bf16vec, sphere_bf16vec),
	FUNCTION 1 bf16vec_l2_space();

CREATE OPERATOR CLASS bf16vec_ip_ops
	FOR TYPE bf16vec USING hnsw AS
	OPERATOR 1 <#> (bf16vec, bf16vec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<#>> (bf16vec, sphere_bf16vec),
	FUNCTION 1 bf16vec_ip_space();

CREATE OPERATOR CLASS bf16vec_cosine_ops
	FOR TYPE bf16vec USING hnsw AS
	OPERATOR 1 <=> (bf16vec, bf16vec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<=>> (bf16vec, sphere_bf16vec),
	FUNCTION 1 bf16vec_cosine_space();

CREATE OPERATOR CLASS bf16vec_l1_ops
	FOR TYPE bf16vec USING hnsw AS
	OPERATOR 1 <+> (bf16vec, bf16vec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<+>> (bf16vec, sphere_bf16vec),
	FUNCTION 1 bf16vec_l1_space();

CREATE OPERATOR CLASS bytevec_l2_ops
	FOR TYPE bytevec USING hnsw AS
	OPERATOR 1 <-> (bytevec, bytevec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<->> (bytevec, sphere_bytevec),
	FUNCTION 1 bytevec_l2_space();

CREATE OPERATOR CLASS bytevec_ip_ops
	FOR TYPE bytevec USING hnsw AS
	OPERATOR 1 <#> (bytevec, bytevec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<#>> (bytevec, sphere_bytevec),
	FUNCTION 1 bytevec_ip_space();

CREATE OPERATOR CLASS bytevec_cosine_ops
	FOR TYPE bytevec USING hnsw AS
	OPERATOR 1 <=> (bytevec, bytevec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<=>> (bytevec, sphere_bytevec),
	FUNCTION 1 bytevec_cosine_space();

CREATE OPERATOR CLASS bytevec_l1_ops
	FOR TYPE bytevec USING hnsw AS
	OPERATOR 1 <+> (bytevec, bytevec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<+>> (bytevec, sphere_bytevec),
	FUNCTION 1 bytevec_l1_space();

CREATE OPERATOR CLASS bit_hamming_ops
	FOR TYPE bit USING hnsw AS
	OPERATOR 1 <~> (bit, bit) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<~>> (bit, sphere_bit),
	FUNCTION 1 bit_hamming_space();

CREATE OPERATOR CLASS bit_jaccard_ops
	FOR TYPE bit USING hnsw AS
	OPERATOR 1 <%> (bit, bit) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<%>> (bit, sphere_bit),
	FUNCTION 1 bit_jaccard_space();

CREATE OPERATOR CLASS sparsevec_l2_ops
	FOR TYPE sparsevec USING hnsw AS
	OPERATOR 1 <-> (sparsevec, sparsevec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<->> (sparsevec, sphere_sparsevec),
	FUNCTION 1 sparsevec_l2_space();

CREATE OPERATOR CLASS sparsevec_ip_ops
	FOR TYPE sparsevec USING hnsw AS
	OPERATOR 1 <#> (sparsevec, sparsevec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<#>> (sparsevec, sphere_sparsevec),
	FUNCTION 1 sparsevec_ip_space();

CREATE OPERATOR CLASS sparsevec_cosine_ops
	FOR TYPE sparsevec USING hnsw AS
	OPERATOR 1 <=> (sparsevec, sparsevec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<=>> (sparsevec, sphere_sparsevec),
	FUNCTION 1 sparsevec_cosine_space();

CREATE OPERATOR CLASS sparsevec_l1_ops
	FOR TYPE sparsevec USING hnsw AS
	OPERATOR 1 <+> (sparsevec, sparsevec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<+>> (sparsevec, sphere_sparsevec),
	FUNCTION 1 sparsevec_l1_space();

-- Filter columns of hnsw: USING hnsw (embedding vector_cosine_ops, tenant_id, price, labels). The
-- operator classes are the default ones of their types; operators and strategy numbers are those of
-- btree, for arrays those of GIN.

CREATE OPERATOR FAMILY integer_ops USING hnsw;

CREATE OPERATOR CLASS int2_ops
	DEFAULT FOR TYPE smallint USING hnsw FAMILY integer_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS int4_ops
	DEFAULT FOR TYPE integer USING hnsw FAMILY integer_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS int8_ops
	DEFAULT FOR TYPE bigint USING hnsw FAMILY integer_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

ALTER OPERATOR FAMILY integer_ops USING hnsw ADD
	OPERATOR 1 < (smallint, integer),
	OPERATOR 2 <= (smallint, integer),
	OPERATOR 3 = (smallint, integer),
	OPERATOR 4 >= (smallint, integer),
	OPERATOR 5 > (smallint, integer),
	OPERATOR 1 < (smallint, bigint),
	OPERATOR 2 <= (smallint, bigint),
	OPERATOR 3 = (smallint, bigint),
	OPERATOR 4 >= (smallint, bigint),
	OPERATOR 5 > (smallint, bigint),
	OPERATOR 1 < (integer, smallint),
	OPERATOR 2 <= (integer, smallint),
	OPERATOR 3 = (integer, smallint),
	OPERATOR 4 >= (integer, smallint),
	OPERATOR 5 > (integer, smallint),
	OPERATOR 1 < (integer, bigint),
	OPERATOR 2 <= (integer, bigint),
	OPERATOR 3 = (integer, bigint),
	OPERATOR 4 >= (integer, bigint),
	OPERATOR 5 > (integer, bigint),
	OPERATOR 1 < (bigint, smallint),
	OPERATOR 2 <= (bigint, smallint),
	OPERATOR 3 = (bigint, smallint),
	OPERATOR 4 >= (bigint, smallint),
	OPERATOR 5 > (bigint, smallint),
	OPERATOR 1 < (bigint, integer),
	OPERATOR 2 <= (bigint, integer),
	OPERATOR 3 = (bigint, integer),
	OPERATOR 4 >= (bigint, integer),
	OPERATOR 5 > (bigint, integer);

CREATE OPERATOR FAMILY float_ops USING hnsw;

CREATE OPERATOR CLASS float4_ops
	DEFAULT FOR TYPE real USING hnsw FAMILY float_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS float8_ops
	DEFAULT FOR TYPE double precision USING hnsw FAMILY float_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

ALTER OPERATOR FAMILY float_ops USING hnsw ADD
	OPERATOR 1 < (real, double precision),
	OPERATOR 2 <= (real, double precision),
	OPERATOR 3 = (real, double precision),
	OPERATOR 4 >= (real, double precision),
	OPERATOR 5 > (real, double precision),
	OPERATOR 1 < (double precision, real),
	OPERATOR 2 <= (double precision, real),
	OPERATOR 3 = (double precision, real),
	OPERATOR 4 >= (double precision, real),
	OPERATOR 5 > (double precision, real);

CREATE OPERATOR CLASS numeric_ops
	DEFAULT FOR TYPE numeric USING hnsw AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS bool_ops
	DEFAULT FOR TYPE boolean USING hnsw AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS text_ops
	DEFAULT FOR TYPE text USING hnsw AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS bpchar_ops
	DEFAULT FOR TYPE character USING hnsw AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS uuid_ops
	DEFAULT FOR TYPE uuid USING hnsw AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS enum_ops
	DEFAULT FOR TYPE anyenum USING hnsw AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR FAMILY datetime_ops USING hnsw;

CREATE OPERATOR CLASS date_ops
	DEFAULT FOR TYPE date USING hnsw FAMILY datetime_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS timestamp_ops
	DEFAULT FOR TYPE timestamp USING hnsw FAMILY datetime_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS timestamptz_ops
	DEFAULT FOR TYPE timestamptz USING hnsw FAMILY datetime_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

ALTER OPERATOR FAMILY datetime_ops USING hnsw ADD
	OPERATOR 1 < (date, timestamp),
	OPERATOR 2 <= (date, timestamp),
	OPERATOR 3 = (date, timestamp),
	OPERATOR 4 >= (date, timestamp),
	OPERATOR 5 > (date, timestamp),
	OPERATOR 1 < (date, timestamptz),
	OPERATOR 2 <= (date, timestamptz),
	OPERATOR 3 = (date, timestamptz),
	OPERATOR 4 >= (date, timestamptz),
	OPERATOR 5 > (date, timestamptz),
	OPERATOR 1 < (timestamp, date),
	OPERATOR 2 <= (timestamp, date),
	OPERATOR 3 = (timestamp, date),
	OPERATOR 4 >= (timestamp, date),
	OPERATOR 5 > (timestamp, date),
	OPERATOR 1 < (timestamp, timestamptz),
	OPERATOR 2 <= (timestamp, timestamptz),
	OPERATOR 3 = (timestamp, timestamptz),
	OPERATOR 4 >= (timestamp, timestamptz),
	OPERATOR 5 > (timestamp, timestamptz),
	OPERATOR 1 < (timestamptz, date),
	OPERATOR 2 <= (timestamptz, date),
	OPERATOR 3 = (timestamptz, date),
	OPERATOR 4 >= (timestamptz, date),
	OPERATOR 5 > (timestamptz, date),
	OPERATOR 1 < (timestamptz, timestamp),
	OPERATOR 2 <= (timestamptz, timestamp),
	OPERATOR 3 = (timestamptz, timestamp),
	OPERATOR 4 >= (timestamptz, timestamp),
	OPERATOR 5 > (timestamptz, timestamp);

CREATE OPERATOR CLASS array_ops
	DEFAULT FOR TYPE anyarray USING hnsw AS
	OPERATOR 1 && (anyarray, anyarray),
	OPERATOR 2 @> (anyarray, anyarray);

-- ivf and ivfflat access methods
CREATE FUNCTION ivfhandler(internal) RETURNS index_am_handler
	AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION ivfhandler(internal) IS 'ivf index access method handler';

CREATE ACCESS METHOD ivf TYPE INDEX HANDLER ivfhandler;

COMMENT ON ACCESS METHOD ivf IS 'ivf index access method';

CREATE FUNCTION ivfflathandler(internal) RETURNS index_am_handler
	AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION ivfflathandler(internal) IS 'ivfflat index access method handler';

CREATE ACCESS METHOD ivfflat TYPE INDEX HANDLER ivfflathandler;

COMMENT ON ACCESS METHOD ivfflat IS 'ivfflat index access method';

CREATE OPERATOR CLASS vector_l2_ops
	FOR TYPE vector USING ivf AS
	OPERATOR 1 <-> (vector, vector) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<->> (vector, sphere_vector),
	FUNCTION 1 vector_l2_space();

CREATE OPERATOR CLASS vector_ip_ops
	FOR TYPE vector USING ivf AS
	OPERATOR 1 <#> (vector, vector) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<#>> (vector, sphere_vector),
	FUNCTION 1 vector_ip_space();

CREATE OPERATOR CLASS vector_cosine_ops
	FOR TYPE vector USING ivf AS
	OPERATOR 1 <=> (vector, vector) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<=>> (vector, sphere_vector),
	FUNCTION 1 vector_cosine_space();

CREATE OPERATOR CLASS vector_l1_ops
	FOR TYPE vector USING ivf AS
	OPERATOR 1 <+> (vector, vector) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<+>> (vector, sphere_vector),
	FUNCTION 1 vector_l1_space();

CREATE OPERATOR CLASS halfvec_l2_ops
	FOR TYPE halfvec USING ivf AS
	OPERATOR 1 <-> (halfvec, halfvec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<->> (halfvec, sphere_halfvec),
	FUNCTION 1 halfvec_l2_space();

CREATE OPERATOR CLASS halfvec_ip_ops
	FOR TYPE halfvec USING ivf AS
	OPERATOR 1 <#> (halfvec, halfvec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<#>> (halfvec, sphere_halfvec),
	FUNCTION 1 halfvec_ip_space();

CREATE OPERATOR CLASS halfvec_cosine_ops
	FOR TYPE halfvec USING ivf AS
	OPERATOR 1 <=> (halfvec, halfvec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<=>> (halfvec, sphere_halfvec),
	FUNCTION 1 halfvec_cosine_space();

CREATE OPERATOR CLASS halfvec_l1_ops
	FOR TYPE halfvec USING ivf AS
	OPERATOR 1 <+> (halfvec, halfvec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<+>> (halfvec, sphere_halfvec),
	FUNCTION 1 halfvec_l1_space();

CREATE OPERATOR CLASS bf16vec_l2_ops
	FOR TYPE bf16vec USING ivf AS
	OPERATOR 1 <-> (bf16vec, bf16vec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<->> (bf16vec, sphere_bf16vec),
	FUNCTION 1 bf16vec_l2_space();

CREATE OPERATOR CLASS bf16vec_ip_ops
	FOR TYPE bf16vec USING ivf AS
	OPERATOR 1 <#> (bf16vec, bf16vec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<#>> (bf16vec, sphere_bf16vec),
	FUNCTION 1 bf16vec_ip_space();

CREATE OPERATOR CLASS bf16vec_cosine_ops
	FOR TYPE bf16vec USING ivf AS
	OPERATOR 1 <=> (bf16vec, bf16vec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<=>> (bf16vec, sphere_bf16vec),
	FUNCTION 1 bf16vec_cosine_space();

CREATE OPERATOR CLASS bf16vec_l1_ops
	FOR TYPE bf16vec USING ivf AS
	OPERATOR 1 <+> (bf16vec, bf16vec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<+>> (bf16vec, sphere_bf16vec),
	FUNCTION 1 bf16vec_l1_space();

CREATE OPERATOR CLASS bytevec_l2_ops
	FOR TYPE bytevec USING ivf AS
	OPERATOR 1 <-> (bytevec, bytevec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<->> (bytevec, sphere_bytevec),
	FUNCTION 1 bytevec_l2_space();

CREATE OPERATOR CLASS bytevec_ip_ops
	FOR TYPE bytevec USING ivf AS
	OPERATOR 1 <#> (bytevec, bytevec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<#>> (bytevec, sphere_bytevec),
	FUNCTION 1 bytevec_ip_space();

CREATE OPERATOR CLASS bytevec_cosine_ops
	FOR TYPE bytevec USING ivf AS
	OPERATOR 1 <=> (bytevec, bytevec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<=>> (bytevec, sphere_bytevec),
	FUNCTION 1 bytevec_cosine_space();

CREATE OPERATOR CLASS bytevec_l1_ops
	FOR TYPE bytevec USING ivf AS
	OPERATOR 1 <+> (bytevec, bytevec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<+>> (bytevec, sphere_bytevec),
	FUNCTION 1 bytevec_l1_space();

CREATE OPERATOR CLASS bit_hamming_ops
	FOR TYPE bit USING ivf AS
	OPERATOR 1 <~> (bit, bit) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<~>> (bit, sphere_bit),
	FUNCTION 1 bit_hamming_space();

CREATE OPERATOR CLASS bit_jaccard_ops
	FOR TYPE bit USING ivf AS
	OPERATOR 1 <%> (bit, bit) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<%>> (bit, sphere_bit),
	FUNCTION 1 bit_jaccard_space();

CREATE OPERATOR CLASS vector_l2_ops
	DEFAULT FOR TYPE vector USING ivfflat AS
	OPERATOR 1 <-> (vector, vector) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<->> (vector, sphere_vector),
	FUNCTION 1 vector_l2_space();

CREATE OPERATOR CLASS vector_ip_ops
	FOR TYPE vector USING ivfflat AS
	OPERATOR 1 <#> (vector, vector) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<#>> (vector, sphere_vector),
	FUNCTION 1 vector_ip_space();

CREATE OPERATOR CLASS vector_cosine_ops
	FOR TYPE vector USING ivfflat AS
	OPERATOR 1 <=> (vector, vector) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<=>> (vector, sphere_vector),
	FUNCTION 1 vector_cosine_space();

CREATE OPERATOR CLASS halfvec_l2_ops
	FOR TYPE halfvec USING ivfflat AS
	OPERATOR 1 <-> (halfvec, halfvec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<->> (halfvec, sphere_halfvec),
	FUNCTION 1 halfvec_l2_space();

CREATE OPERATOR CLASS halfvec_ip_ops
	FOR TYPE halfvec USING ivfflat AS
	OPERATOR 1 <#> (halfvec, halfvec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<#>> (halfvec, sphere_halfvec),
	FUNCTION 1 halfvec_ip_space();

CREATE OPERATOR CLASS halfvec_cosine_ops
	FOR TYPE halfvec USING ivfflat AS
	OPERATOR 1 <=> (halfvec, halfvec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<=>> (halfvec, sphere_halfvec),
	FUNCTION 1 halfvec_cosine_space();

CREATE OPERATOR CLASS bf16vec_l2_ops
	FOR TYPE bf16vec USING ivfflat AS
	OPERATOR 1 <-> (bf16vec, bf16vec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<->> (bf16vec, sphere_bf16vec),
	FUNCTION 1 bf16vec_l2_space();

CREATE OPERATOR CLASS bf16vec_ip_ops
	FOR TYPE bf16vec USING ivfflat AS
	OPERATOR 1 <#> (bf16vec, bf16vec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<#>> (bf16vec, sphere_bf16vec),
	FUNCTION 1 bf16vec_ip_space();

CREATE OPERATOR CLASS bf16vec_cosine_ops
	FOR TYPE bf16vec USING ivfflat AS
	OPERATOR 1 <=> (bf16vec, bf16vec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<=>> (bf16vec, sphere_bf16vec),
	FUNCTION 1 bf16vec_cosine_space();

CREATE OPERATOR CLASS bytevec_l2_ops
	FOR TYPE bytevec USING ivfflat AS
	OPERATOR 1 <-> (bytevec, bytevec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<->> (bytevec, sphere_bytevec),
	FUNCTION 1 bytevec_l2_space();

CREATE OPERATOR CLASS bytevec_ip_ops
	FOR TYPE bytevec USING ivfflat AS
	OPERATOR 1 <#> (bytevec, bytevec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<#>> (bytevec, sphere_bytevec),
	FUNCTION 1 bytevec_ip_space();

CREATE OPERATOR CLASS bytevec_cosine_ops
	FOR TYPE bytevec USING ivfflat AS
	OPERATOR 1 <=> (bytevec, bytevec) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<=>> (bytevec, sphere_bytevec),
	FUNCTION 1 bytevec_cosine_space();

CREATE OPERATOR CLASS bit_hamming_ops
	FOR TYPE bit USING ivfflat AS
	OPERATOR 1 <~> (bit, bit) FOR ORDER BY pg_catalog.float_ops,
	OPERATOR 2 <<~>> (bit, sphere_bit),
	FUNCTION 1 bit_hamming_space();

-- Filter columns of ivf: as those of hnsw.

CREATE OPERATOR FAMILY integer_ops USING ivf;

CREATE OPERATOR CLASS int2_ops
	DEFAULT FOR TYPE smallint USING ivf FAMILY integer_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS int4_ops
	DEFAULT FOR TYPE integer USING ivf FAMILY integer_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS int8_ops
	DEFAULT FOR TYPE bigint USING ivf FAMILY integer_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

ALTER OPERATOR FAMILY integer_ops USING ivf ADD
	OPERATOR 1 < (smallint, integer),
	OPERATOR 2 <= (smallint, integer),
	OPERATOR 3 = (smallint, integer),
	OPERATOR 4 >= (smallint, integer),
	OPERATOR 5 > (smallint, integer),
	OPERATOR 1 < (smallint, bigint),
	OPERATOR 2 <= (smallint, bigint),
	OPERATOR 3 = (smallint, bigint),
	OPERATOR 4 >= (smallint, bigint),
	OPERATOR 5 > (smallint, bigint),
	OPERATOR 1 < (integer, smallint),
	OPERATOR 2 <= (integer, smallint),
	OPERATOR 3 = (integer, smallint),
	OPERATOR 4 >= (integer, smallint),
	OPERATOR 5 > (integer, smallint),
	OPERATOR 1 < (integer, bigint),
	OPERATOR 2 <= (integer, bigint),
	OPERATOR 3 = (integer, bigint),
	OPERATOR 4 >= (integer, bigint),
	OPERATOR 5 > (integer, bigint),
	OPERATOR 1 < (bigint, smallint),
	OPERATOR 2 <= (bigint, smallint),
	OPERATOR 3 = (bigint, smallint),
	OPERATOR 4 >= (bigint, smallint),
	OPERATOR 5 > (bigint, smallint),
	OPERATOR 1 < (bigint, integer),
	OPERATOR 2 <= (bigint, integer),
	OPERATOR 3 = (bigint, integer),
	OPERATOR 4 >= (bigint, integer),
	OPERATOR 5 > (bigint, integer);

CREATE OPERATOR FAMILY float_ops USING ivf;

CREATE OPERATOR CLASS float4_ops
	DEFAULT FOR TYPE real USING ivf FAMILY float_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS float8_ops
	DEFAULT FOR TYPE double precision USING ivf FAMILY float_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

ALTER OPERATOR FAMILY float_ops USING ivf ADD
	OPERATOR 1 < (real, double precision),
	OPERATOR 2 <= (real, double precision),
	OPERATOR 3 = (real, double precision),
	OPERATOR 4 >= (real, double precision),
	OPERATOR 5 > (real, double precision),
	OPERATOR 1 < (double precision, real),
	OPERATOR 2 <= (double precision, real),
	OPERATOR 3 = (double precision, real),
	OPERATOR 4 >= (double precision, real),
	OPERATOR 5 > (double precision, real);

CREATE OPERATOR CLASS numeric_ops
	DEFAULT FOR TYPE numeric USING ivf AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS bool_ops
	DEFAULT FOR TYPE boolean USING ivf AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS text_ops
	DEFAULT FOR TYPE text USING ivf AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS bpchar_ops
	DEFAULT FOR TYPE character USING ivf AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS uuid_ops
	DEFAULT FOR TYPE uuid USING ivf AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS enum_ops
	DEFAULT FOR TYPE anyenum USING ivf AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR FAMILY datetime_ops USING ivf;

CREATE OPERATOR CLASS date_ops
	DEFAULT FOR TYPE date USING ivf FAMILY datetime_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS timestamp_ops
	DEFAULT FOR TYPE timestamp USING ivf FAMILY datetime_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS timestamptz_ops
	DEFAULT FOR TYPE timestamptz USING ivf FAMILY datetime_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

ALTER OPERATOR FAMILY datetime_ops USING ivf ADD
	OPERATOR 1 < (date, timestamp),
	OPERATOR 2 <= (date, timestamp),
	OPERATOR 3 = (date, timestamp),
	OPERATOR 4 >= (date, timestamp),
	OPERATOR 5 > (date, timestamp),
	OPERATOR 1 < (date, timestamptz),
	OPERATOR 2 <= (date, timestamptz),
	OPERATOR 3 = (date, timestamptz),
	OPERATOR 4 >= (date, timestamptz),
	OPERATOR 5 > (date, timestamptz),
	OPERATOR 1 < (timestamp, date),
	OPERATOR 2 <= (timestamp, date),
	OPERATOR 3 = (timestamp, date),
	OPERATOR 4 >= (timestamp, date),
	OPERATOR 5 > (timestamp, date),
	OPERATOR 1 < (timestamp, timestamptz),
	OPERATOR 2 <= (timestamp, timestamptz),
	OPERATOR 3 = (timestamp, timestamptz),
	OPERATOR 4 >= (timestamp, timestamptz),
	OPERATOR 5 > (timestamp, timestamptz),
	OPERATOR 1 < (timestamptz, date),
	OPERATOR 2 <= (timestamptz, date),
	OPERATOR 3 = (timestamptz, date),
	OPERATOR 4 >= (timestamptz, date),
	OPERATOR 5 > (timestamptz, date),
	OPERATOR 1 < (timestamptz, timestamp),
	OPERATOR 2 <= (timestamptz, timestamp),
	OPERATOR 3 = (timestamptz, timestamp),
	OPERATOR 4 >= (timestamptz, timestamp),
	OPERATOR 5 > (timestamptz, timestamp);

CREATE OPERATOR CLASS array_ops
	DEFAULT FOR TYPE anyarray USING ivf AS
	OPERATOR 1 && (anyarray, anyarray),
	OPERATOR 2 @> (anyarray, anyarray);

-- Filter columns of ivfflat: as those of hnsw.

CREATE OPERATOR FAMILY integer_ops USING ivfflat;

CREATE OPERATOR CLASS int2_ops
	DEFAULT FOR TYPE smallint USING ivfflat FAMILY integer_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS int4_ops
	DEFAULT FOR TYPE integer USING ivfflat FAMILY integer_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS int8_ops
	DEFAULT FOR TYPE bigint USING ivfflat FAMILY integer_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

ALTER OPERATOR FAMILY integer_ops USING ivfflat ADD
	OPERATOR 1 < (smallint, integer),
	OPERATOR 2 <= (smallint, integer),
	OPERATOR 3 = (smallint, integer),
	OPERATOR 4 >= (smallint, integer),
	OPERATOR 5 > (smallint, integer),
	OPERATOR 1 < (smallint, bigint),
	OPERATOR 2 <= (smallint, bigint),
	OPERATOR 3 = (smallint, bigint),
	OPERATOR 4 >= (smallint, bigint),
	OPERATOR 5 > (smallint, bigint),
	OPERATOR 1 < (integer, smallint),
	OPERATOR 2 <= (integer, smallint),
	OPERATOR 3 = (integer, smallint),
	OPERATOR 4 >= (integer, smallint),
	OPERATOR 5 > (integer, smallint),
	OPERATOR 1 < (integer, bigint),
	OPERATOR 2 <= (integer, bigint),
	OPERATOR 3 = (integer, bigint),
	OPERATOR 4 >= (integer, bigint),
	OPERATOR 5 > (integer, bigint),
	OPERATOR 1 < (bigint, smallint),
	OPERATOR 2 <= (bigint, smallint),
	OPERATOR 3 = (bigint, smallint),
	OPERATOR 4 >= (bigint, smallint),
	OPERATOR 5 > (bigint, smallint),
	OPERATOR 1 < (bigint, integer),
	OPERATOR 2 <= (bigint, integer),
	OPERATOR 3 = (bigint, integer),
	OPERATOR 4 >= (bigint, integer),
	OPERATOR 5 > (bigint, integer);

CREATE OPERATOR FAMILY float_ops USING ivfflat;

CREATE OPERATOR CLASS float4_ops
	DEFAULT FOR TYPE real USING ivfflat FAMILY float_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS float8_ops
	DEFAULT FOR TYPE double precision USING ivfflat FAMILY float_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

ALTER OPERATOR FAMILY float_ops USING ivfflat ADD
	OPERATOR 1 < (real, double precision),
	OPERATOR 2 <= (real, double precision),
	OPERATOR 3 = (real, double precision),
	OPERATOR 4 >= (real, double precision),
	OPERATOR 5 > (real, double precision),
	OPERATOR 1 < (double precision, real),
	OPERATOR 2 <= (double precision, real),
	OPERATOR 3 = (double precision, real),
	OPERATOR 4 >= (double precision, real),
	OPERATOR 5 > (double precision, real);

CREATE OPERATOR CLASS numeric_ops
	DEFAULT FOR TYPE numeric USING ivfflat AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS bool_ops
	DEFAULT FOR TYPE boolean USING ivfflat AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS text_ops
	DEFAULT FOR TYPE text USING ivfflat AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS bpchar_ops
	DEFAULT FOR TYPE character USING ivfflat AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS uuid_ops
	DEFAULT FOR TYPE uuid USING ivfflat AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS enum_ops
	DEFAULT FOR TYPE anyenum USING ivfflat AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR FAMILY datetime_ops USING ivfflat;

CREATE OPERATOR CLASS date_ops
	DEFAULT FOR TYPE date USING ivfflat FAMILY datetime_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS timestamp_ops
	DEFAULT FOR TYPE timestamp USING ivfflat FAMILY datetime_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

CREATE OPERATOR CLASS timestamptz_ops
	DEFAULT FOR TYPE timestamptz USING ivfflat FAMILY datetime_ops AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >;

ALTER OPERATOR FAMILY datetime_ops USING ivfflat ADD
	OPERATOR 1 < (date, timestamp),
	OPERATOR 2 <= (date, timestamp),
	OPERATOR 3 = (date, timestamp),
	OPERATOR 4 >= (date, timestamp),
	OPERATOR 5 > (date, timestamp),
	OPERATOR 1 < (date, timestamptz),
	OPERATOR 2 <= (date, timestamptz),
	OPERATOR 3 = (date, timestamptz),
	OPERATOR 4 >= (date, timestamptz),
	OPERATOR 5 > (date, timestamptz),
	OPERATOR 1 < (timestamp, date),
	OPERATOR 2 <= (timestamp, date),
	OPERATOR 3 = (timestamp, date),
	OPERATOR 4 >= (timestamp, date),
	OPERATOR 5 > (timestamp, date),
	OPERATOR 1 < (timestamp, timestamptz),
	OPERATOR 2 <= (timestamp, timestamptz),
	OPERATOR 3 = (timestamp, timestamptz),
	OPERATOR 4 >= (timestamp, timestamptz),
	OPERATOR 5 > (timestamp, timestamptz),
	OPERATOR 1 < (timestamptz, date),
	OPERATOR 2 <= (timestamptz, date),
	OPERATOR 3 = (timestamptz, date),
	OPERATOR 4 >= (timestamptz, date),
	OPERATOR 5 > (timestamptz, date),
	OPERATOR 1 < (timestamptz, timestamp),
	OPERATOR 2 <= (timestamptz, timestamp),
	OPERATOR 3 = (timestamptz, timestamp),
	OPERATOR 4 >= (timestamptz, timestamp),
	OPERATOR 5 > (timestamptz, timestamp);

CREATE OPERATOR CLASS array_ops
	DEFAULT FOR TYPE anyarray USING ivfflat AS
	OPERATOR 1 && (anyarray, anyarray),
	OPERATOR 2 @> (anyarray, anyarray);

-- What an index holds. Reads every page of it; the caller must be allowed to SELECT its table.
-- degrees[i] is the number of elements with i - 1 links on the ground layer. The bytes of the parts
-- add up to total_bytes. Restricted: a parallel worker cannot read temporary tables.

CREATE FUNCTION vector_index_stats(
	index regclass,
	OUT layout text,
	OUT quantizer text,
	OUT dimensions integer,
	OUT code_dimensions integer,
	OUT m integer,
	OUT ef_construction integer,
	OUT links_per_node integer,
	OUT elements bigint,
	OUT dead bigint,
	OUT heap_tuples bigint,
	OUT levels integer,
	OUT entry_points bigint,
	OUT degrees bigint[],
	OUT total_bytes bigint,
	OUT vector_bytes bigint,
	OUT link_bytes bigint,
	OUT code_bytes bigint,
	OUT tuple_bytes bigint,
	OUT entry_bytes bigint,
	OUT free_bytes bigint,
	OUT overhead_bytes bigint,
	OUT calibration_multiples real[],
	OUT calibration_recalls real[],
	OUT calibrated_elements bigint
)
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION vector_index_stats(regclass) IS 'contents, size by part and calibration of an hnsw index';

-- What is wrong with an index; no rows where nothing is.

CREATE FUNCTION vector_index_check(
	index regclass,
	heapallindexed boolean DEFAULT false,
	strict boolean DEFAULT false,
	OUT severity text,
	OUT block bigint,
	OUT "offset" integer,
	OUT message text
)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

COMMENT ON FUNCTION vector_index_check(regclass, boolean, boolean) IS 'verifies a vector index: pages, links, codes, and with heapallindexed its table';

-- What the last hnsw index scan of this session did, after it ended; NULLs where there was none.

CREATE FUNCTION hnsw_last_scan(
	OUT expanded bigint,
	OUT estimated bigint,
	OUT computed bigint,
	OUT pages bigint,
	OUT reranked bigint,
	OUT returned bigint,
	OUT swept boolean,
	OUT multiple real,
	OUT target_recall real
)
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION hnsw_last_scan() IS 'work done by the last hnsw index scan of the session';

-- What an ivf or ivfflat index holds: reads all of its pages.

CREATE FUNCTION ivf_index_stats(
	index regclass,
	OUT quantizer text,
	OUT rerank text,
	OUT dimensions integer,
	OUT lists integer,
	OUT lists_per_row integer,
	OUT heap_tuples bigint,
	OUT copies bigint,
	OUT smallest_list bigint,
	OUT largest_list bigint,
	OUT imbalance real,
	OUT probes integer,
	OUT total_bytes bigint,
	OUT code_bytes bigint,
	OUT vector_bytes bigint,
	OUT tuple_bytes bigint,
	OUT directory_bytes bigint,
	OUT free_bytes bigint,
	OUT overhead_bytes bigint,
	OUT calibration_shares real[],
	OUT calibration_recalls real[],
	OUT calibrated_tuples bigint
)
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION ivf_index_stats(regclass) IS 'contents, size by part and calibration of an ivf index';

-- What the last ivf or ivfflat index scan of this session did, after it ended; NULLs where there was none.

CREATE FUNCTION ivf_last_scan(
	OUT lists bigint,
	OUT probes bigint,
	OUT pages bigint,
	OUT estimated bigint,
	OUT compared bigint,
	OUT reranked bigint,
	OUT returned bigint,
	OUT target_recall real
)
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION ivf_last_scan() IS 'work done by the last ivf index scan of the session';
