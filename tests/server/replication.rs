//! A standby answers as its primary does.

use postgres::Client;

use crate::harness::Server;

#[test]
fn a_standby_searches_the_index_and_takes_over() {
    let (primary, mut client) = Server::start_with_extension();
    client
        .batch_execute(
            "CREATE TABLE points (id int, v vector(2));
             INSERT INTO points SELECT i, ARRAY[i, i * 2]::vector FROM generate_series(1, 500) i;
             CREATE INDEX ON points USING hnsw (v vector_l2_ops)",
        )
        .unwrap();

    let standby = primary.standby();
    client
        .batch_execute(
            "INSERT INTO points SELECT i, ARRAY[i, i * 2]::vector FROM generate_series(501, 600) i;
             DELETE FROM points WHERE id % 10 = 0",
        )
        .unwrap();
    client.batch_execute("VACUUM points").unwrap();
    standby.catch_up_with(&primary);

    let nearest = |client: &mut Client| -> Vec<i32> {
        client.batch_execute("SET enable_seqscan = off").unwrap();
        let query = "SELECT id FROM points ORDER BY v <-> '[550.2,1100.4]' LIMIT 5";
        let rows = client.query(query, &[]).unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    assert_eq!(nearest(&mut client), [551, 549, 552, 548, 553]);
    assert_eq!(nearest(&mut standby.client()), [551, 549, 552, 548, 553]);

    drop(client);
    drop(primary);
    standby.promote();
    let mut client = standby.client();
    client
        .batch_execute("INSERT INTO points VALUES (550, '[550,1100]')")
        .unwrap();
    assert_eq!(nearest(&mut client)[0], 550);
}
