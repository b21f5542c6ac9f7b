//! `pg_upgrade`. To the same major: others are not in one place on most machines, and what it does to
//! tables and indexes is the same.

use super::{answers, assert_all_sound, contents, create, go_on};
use crate::hnsw::server_with;

#[test]
fn pg_upgrade_takes_tables_and_indexes_along_as_they_are() {
    for how in [&[][..], &["--link"]] {
        let (old, mut client) = server_with("");
        create(&mut client);
        let wanted = (contents(&mut client), answers(&mut client));
        drop(client);
        let new = old.upgraded(how);
        let mut client = new.client();
        let found = (contents(&mut client), answers(&mut client));
        assert!(
            found == wanted,
            "pg_upgrade {how:?}: {found:?} and not {wanted:?}"
        );
        assert_all_sound(&mut client);
        go_on(&mut client);
        drop(client);
        new.crash_and_restart();
        assert_all_sound_but_the_unlogged(&mut new.client());
    }
}

/// A crash empties unlogged tables, and their indexes.
fn assert_all_sound_but_the_unlogged(client: &mut postgres::Client) {
    assert_eq!(
        crate::hnsw::number(client, "SELECT count(*) FROM fleeting"),
        0
    );
    assert_all_sound(client);
}
