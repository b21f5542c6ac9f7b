"""A throw-away PostgreSQL server, with psql and pgbench against it."""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .options import Options, Unusable

Settings = dict[str, str]


@dataclass(frozen=True)
class Load:
    """What one pgbench run measured: transactions a second and each one's microseconds."""

    rate: float
    latencies: np.ndarray

    @staticmethod
    def percentiles(loads: "list[Load]", *wanted: float) -> list[float]:
        """Microseconds, over several runs."""
        return [float(value) for value in np.percentile(np.concatenate([load.latencies for load in loads]), wanted)]


class Server:
    """Own data directory, unix socket only, never root; gone when the `with` block ends."""

    def __init__(self, options: Options, settings: Settings):
        self.bindir = Path(capture([options.pg_config, "--bindir"]).strip())
        missing = [name for name in ("initdb", "pg_ctl", "psql", "pgbench") if not (self.bindir / name).exists()]
        if missing:
            raise Unusable(f"{self.bindir} lacks {', '.join(missing)}: PG_CONFIG= names another server")
        self.settings = settings
        self.scratch = options.scratch
        self.identity = unprivileged()

    def __enter__(self) -> "Server":
        self.home = Path(tempfile.mkdtemp(prefix="vectorext-bench-", dir=self.scratch))
        self.home.chmod(0o755)
        self.data = self.home / "data"
        self.data.mkdir()
        if self.identity:
            os.chown(self.data, self.identity["user"], self.identity["group"])
        try:
            self.as_owner("initdb", "-D", self.data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
            with open(self.data / "postgresql.conf", "a") as file:
                file.write("listen_addresses = ''\n")
                file.write(f"unix_socket_directories = '{self.data}'\n")
                for name, value in self.settings.items():
                    file.write(f"{name} = '{value}'\n")
            self.as_owner("pg_ctl", "-D", self.data, "-l", self.data / "log", "-s", "-w", "start")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if (self.data / "postmaster.pid").exists():
            self.as_owner("pg_ctl", "-D", self.data, "-s", "-w", "-m", "fast", "stop")
        shutil.rmtree(self.home)

    def restart(self, settings: Settings) -> None:
        """With these settings over those of the file; without any, as it was."""
        over = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self.as_owner(
            "pg_ctl", "-D", self.data, "-l", self.data / "log", "-s", "-w", "-m", "fast", "-t", 300, "-o", over, "restart"
        )

    def forget(self, database: str, relations: tuple[str, ...]) -> None:
        """Asks the operating system to drop its cached pages of these tables and indexes, and of their TOAST."""
        names = ", ".join(f"'{name}'::regclass" for name in relations)
        wanted = (
            "SELECT pg_relation_filepath(oid) FROM pg_class c WHERE oid IN "
            f"({names}, (SELECT reltoastrelid FROM pg_class WHERE oid = '{relations[0]}'::regclass)) AND c.relfilenode <> 0"
        )
        self.psql(database, "CHECKPOINT")
        for (path,) in self.rows(database, wanted):
            segments = [self.data / path, *(self.data / path).parent.glob(f"{Path(path).name}.*")]
            for segment in segments:
                with open(segment, "rb") as file:
                    os.fsync(file.fileno())
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def as_owner(self, program: str, *arguments: object) -> None:
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        environment["LC_ALL"] = "C"
        command = [str(self.bindir / program), *map(str, arguments)]
        # output to a file, not a pipe: the server that pg_ctl leaves behind would hold the pipe open
        with tempfile.TemporaryFile() as output:
            ended = subprocess.run(
                command, cwd="/", env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                **self.identity,
            )
            if ended.returncode:
                output.seek(0)
                log = self.data / "log"
                detail = output.read().decode() + (log.read_text()[-2000:] if log.exists() else "")
                raise Unusable(f"{program} failed:\n{detail}")

    def psql(self, database: str, sql: str, settings: Settings | None = None) -> str:
        """Runs statements in one session; returns unaligned, tab-separated rows."""
        command = [self.bindir / "psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-f", "-"]
        return capture([*command, database], sql, self.environment(settings))

    def rows(self, database: str, sql: str, settings: Settings | None = None) -> list[list[str]]:
        """`psql`, split into fields."""
        return [line.split("\t") for line in self.psql(database, sql, settings).splitlines()]

    def copy(self, database: str, table: str, payload: bytes, settings: Settings | None = None) -> float:
        """Binary `COPY` of prepared bytes into a table; returns its seconds without connecting."""
        with tempfile.NamedTemporaryFile(dir=self.home) as file:
            file.write(payload)
            file.flush()
            command = f"\\timing on\n\\copy {table} from '{file.name}' with (format binary)\n"
            return timings(self.psql(database, command, settings))[-1]

    def cost(self, database: str, statement: str, first: str = "") -> tuple[float, float]:
        """Seconds of one statement by the clock, and those that all its processes and threads computed.

        The latter come from the postmaster, who sums up the sessions and workers that ended; so `first`,
        run in a session of its own, is not in them.
        """
        if first:
            self.whole_session(database, first)
        before = self.children_seconds()
        output = self.whole_session(database, f"\\timing on\n{statement};\n")
        return timings(output)[-1], self.children_seconds() - before

    def whole_session(self, database: str, sql: str) -> str:
        """`psql`, returning when the postmaster has noticed the session's end: on a busy machine seconds after its client's."""
        backend, _, output = self.psql(database, f"SELECT pg_backend_pid();\n{sql}").partition("\n")
        latest = time.monotonic() + 60
        while Path(f"/proc/{backend}").exists() and time.monotonic() < latest:
            time.sleep(0.01)
        return output

    def children_seconds(self) -> float:
        postmaster = (self.data / "postmaster.pid").read_text().split()[0]
        fields = Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()
        # proc(5): cutime and cstime are fields 16 and 17; those after the name start with the third
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")

    def pgbench(
        self,
        database: str,
        script: str,
        settings: Settings,
        *,
        clients: int = 1,
        seconds: int | None = None,
        transactions: int | None = None,
        seed: int = 1,
        placement: str = "free",
    ) -> Load:
        """Runs a script with prepared statements, for a time or for a number of transactions a client.

        Where the scheduler puts client and backend decides the round trip: on one core they hand over
        in some 15 us, on two the wake-up of the other takes several times that, and which of both happens
        depends on what else runs. So `placement` fixes it for runs of one client.
        """
        with tempfile.TemporaryDirectory(dir=self.home) as directory:
            path = Path(directory) / "script.sql"
            path.write_text(script)
            length = ["-T", seconds] if seconds else ["-t", transactions]
            command = [
                self.bindir / "pgbench", "-n", "-M", "prepared", "-c", clients, "-j", clients, *length,
                "-f", path, f"--random-seed={seed}", "-l", f"--log-prefix={directory}/latency", database,
            ]  # fmt: skip
            client, backend = cores_of(placement)
            postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
            # a new backend inherits the cores of the postmaster
            os.sched_setaffinity(postmaster, backend)
            try:
                output = capture(command, "", self.environment(settings), client)
            finally:
                os.sched_setaffinity(postmaster, os.sched_getaffinity(0))
            rate = re.search(r"tps = ([0-9.]+)", output)
            if not rate:
                raise Unusable(f"pgbench gave no rate:\n{output}")
            latencies = [np.loadtxt(log, usecols=2, ndmin=1) for log in Path(directory).glob("latency.*")]
            return Load(float(rate[1]), np.concatenate(latencies))

    def environment(self, settings: Settings | None) -> dict[str, str]:
        options = " ".join(f"-c {name}={escape(value)}" for name, value in (settings or {}).items())
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return kept | {"PGHOST": str(self.data), "PGUSER": "bench", "PGOPTIONS": options, "LC_ALL": "C.UTF-8"}


def unprivileged() -> dict[str, object]:
    """How a server process gives up root: it refuses to run with it."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        except KeyError:
            continue
    raise Unusable("running as root, and there is neither a user postgres nor nobody for the server")


def cores_of(placement: str) -> tuple[set[int], set[int]]:
    """Cores for a client and for its backend."""
    cores = os.sched_getaffinity(0)
    first = {min(cores)}
    if placement == "together":
        return first, first
    return (first, cores - first) if placement == "apart" else (cores, cores)


def escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def timings(output: str) -> list[float]:
    """Seconds of each statement that psql timed."""
    return [float(ms) / 1000 for ms in re.findall(r"^Time: ([0-9.]+) ms", output, re.MULTILINE)]


def capture(
    command: list, text: str = "", environment: dict[str, str] | None = None, cores: set[int] | None = None
) -> str:
    """Standard output of a command; its standard error becomes the message when it fails."""
    arguments = [str(argument) for argument in command]
    try:
        ended = subprocess.run(
            arguments,
            input=text,
            capture_output=True,
            text=True,
            env=environment,
            preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
        )
    except FileNotFoundError as missing:
        raise Unusable(f"{arguments[0]} not found: install PostgreSQL's server packages or set PG_CONFIG=") from missing
    if ended.returncode:
        raise Unusable(f"{Path(arguments[0]).name} failed: {ended.stderr.strip()}")
    return ended.stdout
