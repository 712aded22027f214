"""The ledger's tables in PostgreSQL, in a schema of their own.

One statement, and so one round trip, appends a turn's events: the function `kapelle.append_all`. It takes the lock of
its run, so appends to one run stand in line and places have no gaps; appends to different runs do not wait for each
other.

**Exactly once, although a reply can be lost.** Whoever loses the connection after sending an append cannot know whether
it was written, or still will be. So each event carries a *stamp*: the writer's random number in the upper bits, its own
count in the lower ones. A turn is sent again with the same stamps, and the function looks for the first of them, under
the run's lock, among the events behind the last place that the writer knows of (a look into the primary key: usually at
no row at all):

    the same stamp is there      it was written: nothing is, and the place of its first event is returned
    a later one of this writer   it comes late, after the writer went on without it: it is refused
    none                         it was not written: now it is

So the lost one may arrive before, after or never, and one event comes of it.

The function computes the events' hashes too (see chain), for only under the run's lock it is known what they follow.

Columns are text rather than json: the JSON of Python holds what PostgreSQL's types refuse (\\u0000, lone surrogates,
Infinity). Texts that order or find runs compare by their bytes, whatever the database's language is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kapelle.errors import InvalidInput, NotFound

from .schema import too_old

if TYPE_CHECKING:
    from psycopg import Connection

LEASE_LOST = "KP001"
"""The SQLSTATE by which `kapelle.append_all` refuses a fence that is not the current one."""
BROKEN_CHAIN = "KP003"
"""The SQLSTATE by which it refuses a run whose last event is not the one that the head of its chain tells of."""

_MAKING = 0x6B61_7065  # "kape": an advisory lock that two who create one ledger at once both take

VERSION = 4
"""Of the tables below. A ledger of one before `OLDEST` was written before the first release: see `make_tables`."""
OLDEST = 3
"""Of this version on, ledgers are brought to the newest."""
_APPEND_ALL = """
    CREATE FUNCTION kapelle.append_all(
        of_run text, shown_fence bigint, known_seq bigint, ats double precision[], kinds text[], tasks text[],
        texts text[], outcomes text[], stamps bigint[], large text[], contents bytea[]
    ) RETURNS bigint LANGUAGE plpgsql AS $$
    DECLARE
        first_seq bigint;
        found_seq bigint;
        found_stamp bigint;
        lease record;
        chain record;
        last_hash bytea;
        hashes bytea[] := '{}';
    BEGIN
        PERFORM kapelle.lock_run(of_run);
        SELECT seq, stamp INTO found_seq, found_stamp FROM kapelle.events
        WHERE run_id = of_run AND seq > known_seq AND stamp >= stamps[1] AND stamp >> 32 = stamps[1] >> 32
        ORDER BY seq LIMIT 1;
        IF found_stamp = stamps[1] THEN
            RETURN found_seq;
        ELSIF FOUND THEN
            RAISE EXCEPTION 'late' USING ERRCODE = 'KP002';
        END IF;
        IF shown_fence IS NOT NULL THEN
            SELECT * INTO lease FROM kapelle.leases WHERE run_id = of_run;
            IF NOT FOUND OR lease.fence <> shown_fence OR lease.owner IS NULL THEN
                RAISE EXCEPTION 'lease lost' USING ERRCODE = 'KP001', DETAIL = json_build_object(
                    'run_id', of_run, 'shown', shown_fence, 'fence', coalesce(lease.fence, 0), 'owner', lease.owner);
            END IF;
        END IF;
        -- A collection that is under way has locked the head before the events, so what is read next is after it.
        SELECT * INTO chain FROM kapelle.chains WHERE run_id = of_run FOR UPDATE;
        SELECT seq INTO first_seq FROM kapelle.events WHERE run_id = of_run ORDER BY seq DESC LIMIT 1;
        first_seq := coalesce(first_seq + 1, 0);
        IF coalesce(chain.length, 0) <> first_seq THEN
            RAISE EXCEPTION 'broken chain' USING ERRCODE = 'KP003', DETAIL = json_build_object(
                'run_id', of_run, 'events', first_seq, 'length', chain.length);
        END IF;
        last_hash := coalesce(chain.hash, decode(repeat('00', 32), 'hex'));
        FOR place IN 1 .. cardinality(kinds) LOOP
            last_hash := sha256(last_hash || int8send(first_seq + place - 1) || contents[place]);
            hashes[place] := last_hash;
        END LOOP;
        INSERT INTO kapelle.events
        SELECT of_run, first_seq + place - 1, at, kind, task, text, stamp, hash
        FROM unnest(ats, kinds, tasks, texts, stamps, hashes) WITH ORDINALITY
            AS new (at, kind, task, text, stamp, hash, place);
        -- Once for all of them: within a transaction every version of a row that it changes is looked at again.
        INSERT INTO kapelle.chains VALUES (of_run, 0, first_seq + cardinality(kinds), last_hash)
        ON CONFLICT (run_id) DO UPDATE SET length = excluded.length, hash = excluded.hash;
        INSERT INTO kapelle.blobs
        SELECT DISTINCT hash, b.text FROM unnest(large) AS one (fields),
            json_to_recordset(one.fields::json) AS b (hash text, text text)
        ON CONFLICT (hash) DO UPDATE SET hash = excluded.hash;  -- locks it against a collection under way
        INSERT INTO kapelle.event_blobs
        SELECT of_run, first_seq + place - 1, field, hash FROM unnest(large) WITH ORDINALITY AS one (fields, place),
            json_to_recordset(one.fields::json) AS b (field text, hash text);
        INSERT INTO kapelle.outcomes (
            run_id, task_id, task_type, agent, step, success, quality, input_tokens, cached_tokens, output_tokens,
            calls, cost_usd, seconds, error, features, at)
        SELECT
            o.run_id, o.task_id, o.task_type, o.agent, o.step, o.success, o.quality, o.input_tokens, o.cached_tokens,
            o.output_tokens, o.calls, o.cost_usd, o.seconds, o.error, o.features, o.at
        FROM unnest(outcomes) WITH ORDINALITY AS one (rows, place),
            json_populate_recordset(NULL::kapelle.outcomes, one.rows::json) AS o
        ORDER BY one.place;
        RETURN first_seq;
    END $$;
"""
SCHEMA = """
    CREATE SCHEMA kapelle;
    CREATE TABLE kapelle.version (number integer NOT NULL);
    CREATE TABLE kapelle.events (
        run_id  text COLLATE "C" NOT NULL,
        seq     bigint NOT NULL,
        at      double precision NOT NULL,
        kind    text NOT NULL,
        task_id text,
        data    text NOT NULL,
        stamp   bigint NOT NULL,
        hash    bytea,
        PRIMARY KEY (run_id, seq)
    );
    CREATE INDEX events_by_kind ON kapelle.events (kind, at);
    CREATE TABLE kapelle.outcomes (
        outcome_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        run_id        text NOT NULL,
        task_id       text NOT NULL,
        task_type     text NOT NULL,
        agent         text NOT NULL,
        step          text NOT NULL,
        success       boolean NOT NULL,
        quality       double precision,
        input_tokens  bigint NOT NULL,
        cached_tokens bigint NOT NULL,
        output_tokens bigint NOT NULL,
        calls         bigint NOT NULL,
        cost_usd      double precision NOT NULL,
        seconds       double precision NOT NULL,
        error         text,
        features      text NOT NULL,
        at            double precision NOT NULL,
        stamp         bigint  -- of outcomes that belong to no event; the others go by the stamp of theirs
    );
    CREATE INDEX outcomes_by_agent ON kapelle.outcomes (agent, task_type);
    CREATE UNIQUE INDEX outcomes_by_stamp ON kapelle.outcomes (stamp) WHERE stamp IS NOT NULL;
    CREATE TABLE kapelle.leases (
        run_id     text COLLATE "C" PRIMARY KEY,
        owner      text,
        fence      bigint NOT NULL,
        expires_at double precision NOT NULL,
        stamp      bigint NOT NULL
    );

    CREATE TABLE kapelle.inbox (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        run_id text COLLATE "C" NOT NULL,
        key    text NOT NULL,
        at     double precision NOT NULL,
        data   text NOT NULL,
        stamp  bigint NOT NULL,
        UNIQUE (run_id, key)
    );
    CREATE TABLE kapelle.blobs (
        hash text COLLATE "C" PRIMARY KEY,
        text text NOT NULL
    );
    CREATE TABLE kapelle.event_blobs (
        run_id text COLLATE "C" NOT NULL,
        seq    bigint NOT NULL,
        field  text NOT NULL,
        hash   text COLLATE "C" NOT NULL,
        PRIMARY KEY (run_id, seq, field)
    );
    CREATE INDEX event_blobs_by_hash ON kapelle.event_blobs (hash);
    CREATE TABLE kapelle.chains (
        run_id text COLLATE "C" PRIMARY KEY,
        start  bigint NOT NULL,
        length bigint NOT NULL,
        hash   bytea NOT NULL
    );

    CREATE FUNCTION kapelle.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION '% are append-only', TG_TABLE_NAME; END $$;
    CREATE TRIGGER events_are_final BEFORE UPDATE ON kapelle.events FOR EACH ROW EXECUTE FUNCTION kapelle.refuse();
    CREATE TRIGGER events_are_kept BEFORE DELETE ON kapelle.events FOR EACH ROW EXECUTE FUNCTION kapelle.refuse();
    CREATE TRIGGER events_are_not_emptied BEFORE TRUNCATE ON kapelle.events EXECUTE FUNCTION kapelle.refuse();
    CREATE TRIGGER outcomes_are_final BEFORE UPDATE ON kapelle.outcomes FOR EACH ROW EXECUTE FUNCTION kapelle.refuse();
    CREATE TRIGGER outcomes_are_kept BEFORE DELETE ON kapelle.outcomes FOR EACH ROW EXECUTE FUNCTION kapelle.refuse();
    CREATE TRIGGER outcomes_are_not_emptied BEFORE TRUNCATE ON kapelle.outcomes EXECUTE FUNCTION kapelle.refuse();

    CREATE FUNCTION kapelle.refuse_lease() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'UPDATE' AND NEW.fence >= OLD.fence THEN RETURN NEW; END IF;
        IF TG_OP = 'DELETE' AND NOT EXISTS (SELECT 1 FROM kapelle.events WHERE run_id = OLD.run_id) THEN
            RETURN OLD;
        END IF;
        RAISE EXCEPTION 'fences only grow, and leases are kept as long as the events of their runs';
    END $$;
    CREATE TRIGGER fences_only_grow BEFORE UPDATE OR DELETE ON kapelle.leases
        FOR EACH ROW EXECUTE FUNCTION kapelle.refuse_lease();

    CREATE FUNCTION kapelle.lock_run(of_run text) RETURNS void LANGUAGE sql AS $$
        -- until the transaction ends; runs whose hashes are the same wait for each other, which does no harm
        SELECT pg_advisory_xact_lock(hashtextextended(of_run, 0))
    $$;

    CREATE FUNCTION kapelle.pick(data text, VARIADIC names text[]) RETURNS text LANGUAGE plpgsql STABLE AS $$
    BEGIN
        RETURN (SELECT json_agg(data::json -> name ORDER BY place)
                FROM unnest(names) WITH ORDINALITY AS wanted (name, place));
    EXCEPTION WHEN others THEN
        RETURN data;
    END $$;
"""
"""Once a version was released, a change is another script, applied to ledgers of the version before."""
_FROM_3 = "DROP FUNCTION IF EXISTS kapelle.append"
"""It took one event at a time."""


def make_tables(connection: Connection[Any], place: str) -> None:
    """Give a database the tables, in one transaction: all of them or none.

    Raises:
        InvalidInput: the schema is of something else, or was written by another version of kapelle.
    """
    if _version(connection, place) == VERSION:
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MAKING,))  # a second one waits, and finds it done
        found = _version(connection, place)
        if found < VERSION:
            for script in (SCHEMA if found == 0 else _FROM_3, _APPEND_ALL):
                connection.execute(script.encode())
            connection.execute("INSERT INTO kapelle.version VALUES (%s)", (VERSION,))


def check_readable(connection: Connection[Any], place: str) -> None:
    """Check that there is a ledger.

    Raises:
        NotFound: there is none.
        InvalidInput: the schema is of something else, or of another version.
    """
    if _version(connection, place) == 0:
        raise NotFound(f"There is no ledger at {place!r}. `kapelle run` makes one; --db names another.")


def _version(connection: Connection[Any], place: str) -> int:
    """Return the ledger's version; 0 where there is none yet."""
    tables = {name for (name,) in connection.execute(
        "SELECT c.relname FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind = 'r' "
        "WHERE n.nspname = 'kapelle'"
    )}  # fmt: skip
    if not tables:
        return 0
    if not {"version", "events", "outcomes"} <= tables:
        raise InvalidInput(
            f"The database {place!r} has a schema 'kapelle' of something else. Name another database with --db."
        )
    (version,) = connection.execute("SELECT max(number) FROM kapelle.version").fetchone() or (None,)
    if not isinstance(version, int):
        raise InvalidInput(f"The database {place!r} has a schema 'kapelle' without a version. Name another with --db.")
    if version > VERSION:
        raise InvalidInput(f"The ledger {place!r} was written by a newer kapelle (schema {version}). Upgrade kapelle.")
    if version < OLDEST:
        raise InvalidInput(too_old(place, version))
    return version
