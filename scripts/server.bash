# To be sourced: a throw-away PostgreSQL server. Its data, log and socket live in a directory of their
# own that nobody else can enter; it never runs as root and never touches another cluster.
#
#   start_server [SETTING...]   starts one and exports PGHOST, PGPORT, PGUSER and PGDATABASE for clients;
#                               sets server_directory and server_password (TCP asks for it)
#   restart_after_crash         ends it as a crash would and starts it again
#   stop_server DIRECTORY       stops and removes one, also one of an earlier run
#
# PG_CONFIG (default pg_config) chooses the server's programs, TMPDIR (default /tmp) the place.
# shellcheck shell=bash

server_bindir=$("${PG_CONFIG:-pg_config}" --bindir) || exit 1

# Who runs the server: root may not.
server_user=$(id -un)
if [ "$(id -u)" = 0 ]; then
    server_user=postgres
    id -u postgres >/dev/null 2>&1 || server_user=nobody
fi

# Runs a command as that user, in a directory it can enter. A Rust backtrace would be the DETAIL of
# every ERROR, hence no RUST_BACKTRACE.
as_server_user() { # DIRECTORY COMMAND...
    local directory=$1
    shift
    set -- env -u RUST_BACKTRACE HOME="$directory" LC_ALL=C "$@"
    if [ "$(id -un)" = "$server_user" ]; then
        (cd "$directory" && "$@" </dev/null)
    else
        (cd "$directory" && runuser -u "$server_user" -- "$@" </dev/null)
    fi
}

# An empty directory of that user, short enough for a socket's path (107 bytes).
make_server_directory() {
    local place
    for place in "${TMPDIR:-/tmp}" /tmp /var/tmp; do
        server_directory=$(mktemp -d "${place%/}/vectorext.XXXXXX" 2>/dev/null) || continue
        chown "$server_user" "$server_directory"
        if [ ${#server_directory} -lt 80 ] && as_server_user / test -w "$server_directory"; then
            return
        fi
        rm -rf "$server_directory"
    done
    echo "No place for a server that $server_user can enter: set TMPDIR to one." >&2
    exit 1
}

start_server() { # SETTING...
    local attempt said password_file
    make_server_directory
    server_password=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
    password_file=$server_directory/password
    echo "$server_password" >"$password_file"
    chown "$server_user" "$password_file"
    said=$(as_server_user "$server_directory" "$server_bindir/initdb" --no-sync --encoding=UTF8 --locale=C \
        --username=postgres --pwfile="$password_file" --auth-local=trust --auth-host=scram-sha-256 \
        --pgdata="$server_directory/data" 2>&1) || server_failed "$said"
    rm "$password_file"
    printf '%s\n' "unix_socket_directories = '$server_directory'" "listen_addresses = '127.0.0.1'" \
        "fsync = off" "$@" >>"$server_directory/data/postgresql.conf"

    # a port that another program takes first is no reason to give up
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        export PGPORT=$((20000 + (RANDOM % 20000)))
        # no pipe to read: the server would hold it open
        if as_server_user "$server_directory" "$server_bindir/pg_ctl" start --silent --wait --timeout=120 \
            --pgdata="$server_directory/data" --log="$server_directory/log" --options="-p $PGPORT" \
            >/dev/null; then
            unset PGHOSTADDR PGSERVICE PGOPTIONS PGPASSWORD PGSSLMODE PGCLIENTENCODING
            export PGHOST=$server_directory PGUSER=postgres PGDATABASE=postgres
            return
        fi
        grep -q 'could not bind' "$server_directory/log" || break
        echo "Port $PGPORT is taken, trying another (attempt $attempt)." >&2
    done
    server_failed "$(tail -n 20 "$server_directory/log")"
}

restart_after_crash() {
    as_server_user "$server_directory" "$server_bindir/pg_ctl" stop --silent --mode=immediate --wait \
        --pgdata="$server_directory/data" >/dev/null
    as_server_user "$server_directory" "$server_bindir/pg_ctl" start --silent --wait --timeout=600 \
        --pgdata="$server_directory/data" --log="$server_directory/log" --options="-p $PGPORT" >/dev/null ||
        server_failed "$(tail -n 20 "$server_directory/log")"
}

server_failed() { # WHY
    printf 'The server does not start:\n%s\n' "$1" >&2
    exit 1
}

stop_server() { # DIRECTORY
    if [ -e "$1/data/postmaster.pid" ]; then
        as_server_user "$1" "$server_bindir/pg_ctl" stop --silent --mode=fast --wait --pgdata="$1/data" \
            >/dev/null 2>&1
    fi
    rm -rf "$1"
}
