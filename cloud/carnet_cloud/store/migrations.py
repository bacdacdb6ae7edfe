"""The tables of the cloud's store, as forward-only steps: a step that has landed is never edited.

Written in SQLite's words for types; ``postgres.schema`` puts its own in their place, so the versions are the same.

Times are milliseconds of the server's clock, ids the raw bytes of ``carnet.ids``, documents the bytes as they came.
"""

from __future__ import annotations

from carnet.errors import ConfigError

STEPS: tuple[str, ...] = (
    """
    create table incarnation (id blob not null, created_ms integer not null);
    create table counter (name text primary key, value integer not null) without rowid;

    create table device (
        device blob primary key, vehicle blob not null, tenant text not null, epoch integer not null,
        sign_key blob not null, receive_key blob not null, state text not null, enrolled_ms integer not null
    ) without rowid;
    create table owner_key (
        vehicle blob not null, epoch integer not null, thumbprint text not null, public_key blob not null,
        primary key (vehicle, epoch, thumbprint)
    ) without rowid;
    create table generation (
        vehicle blob not null, epoch integer not null, generation integer not null, primary key (vehicle, epoch)
    ) without rowid;
    create table offer (
        id text primary key, tenant text not null, recipient text not null, document blob not null,
        created_ms integer not null
    ) without rowid;
    create table record (
        id text primary key, vehicle blob not null, epoch integer not null, tenant text not null,
        recipient text not null,
        offer text not null references offer (id), jws text not null, state text not null,
        expires_ms integer not null,
        created_ms integer not null, silent_until_confirmed integer not null default 0, last_event_id blob
    ) without rowid;
    create index record_by_vehicle on record (vehicle, epoch, id);
    create table event (
        record text not null references record (id), seq integer not null, entry text not null,
        time_ms integer not null,
        primary key (record, seq)
    ) without rowid;

    create table stream (
        device blob not null, stream blob not null, watermark integer not null, head blob not null,
        last_ms integer not null,
        primary key (device, stream)
    ) without rowid;
    create table replay (
        device blob not null, stream blob not null, seq integer not null, manifest blob not null, prev blob not null,
        primary key (device, stream, seq)
    ) without rowid;
    create table named_gap (
        device blob not null, stream blob not null, first integer not null, last integer not null,
        primary key (device, stream, first)
    ) without rowid;
    create table column_schema (
        device blob not null, hash blob not null, document blob not null, primary key (device, hash)
    ) without rowid;
    create index column_schema_by_hash on column_schema (hash, device);
    create table held (
        device blob not null, stream blob not null, seq integer not null, envelope blob not null,
        reason text not null,
        received_ms integer not null, until_ms integer not null, boot_id blob not null, primary key (device,
        stream, seq)
    ) without rowid;
    create table anchor (
        device blob not null, boot_id blob not null, boot_ms integer not null, earliest_ms integer not null,
        latest_ms integer not null, primary key (device, boot_id)
    ) without rowid;
    create table report (
        device blob not null, kind text not null, stream blob not null, seq integer not null, body blob not null,
        time_ms integer not null, primary key (device, kind, stream, seq)
    ) without rowid;

    create table outbox_key (
        record text not null, recipient text not null, wrapped blob not null, wrapping_key blob not null,
        primary key (record, recipient)
    ) without rowid;
    create table outbox (
        event_id blob primary key, record text not null, recipient text not null, generation integer not null,
        created_ms integer not null, payload blob, attempts integer not null default 0, next_ms integer not null,
        state text not null, lease_owner blob, lease_until_ms integer, confirmed_ms integer,
        replay_until_ms integer not null
    ) without rowid;
    create index outbox_due on outbox (recipient, state, next_ms, event_id);
    create index outbox_leased on outbox (recipient, state, lease_until_ms, event_id);
    create index outbox_by_record on outbox (record, state, event_id);
    create table delivery (
        event_id blob primary key, record text not null, recipient text not null, generation integer not null,
        log_position integer not null default 0, samples integer not null, counts text not null,
        first_ms integer not null,
        last_ms integer not null, size_bytes integer not null, outcome text not null, time_ms integer not null
    ) without rowid;
    create index delivery_by_record on delivery (record, time_ms, event_id);
    create table block (
        vehicle blob not null, record text not null, path text not null, reason text not null,
        samples integer not null,
        first_ms integer not null, last_ms integer not null, primary key (vehicle, record, path, reason)
    ) without rowid;
    """,
    # how much of the journal of narrowings this store has applied: a restored store has less, and applies the rest
    "alter table incarnation add column journal_lines integer not null default 0;",
    # when the end of a key's record is looked for, without reading the keys of all living ones; 0: at the next turn
    """
    alter table outbox_key add column ends_ms integer not null default 0;
    create index outbox_key_by_end on outbox_key (ends_ms, record, recipient);
    """,
    # what is done and still kept for its replay window: few, among events that stay for ever
    """
    create index outbox_window on outbox (replay_until_ms, event_id)
        where payload is not null and state not in ('leased', 'queued');
    """,
    # when an offer was ended by its recipient, and the pairing of a unit by the operator or a sale; null: it was not
    """
    alter table offer add column ended_ms integer;
    alter table device add column ended_ms integer;
    create index record_by_offer on record (offer, state);
    """,
    # the receivers on this store, how long each is believed to live, and which shards it serves
    """
    create table receiver (member blob primary key, until_ms integer not null) without rowid;
    create table shard (shard integer primary key, member blob not null) without rowid;
    create index shard_by_member on shard (member, shard);
    """,
    # which lines of the journal those are that this store has applied; null: written down at the next narrowing
    "alter table incarnation add column journal_digest blob;",
    # the log: leaves (position null: waiting), complete subtrees, heads. Of a record: how many of its entries are in
    # force, until when, and the position of the newest that has one. What was in force before there was a log stays so
    """
    create table log (
        tenant text primary key, origin text not null, size integer not null, root blob not null,
        checkpoint text not null, owner blob not null, until_ms integer not null
    ) without rowid;
    create table log_leaf (
        tenant text not null, record text not null, step integer not null, queued_ms integer not null,
        salt blob not null, document blob not null, position integer, primary key (record, step)
    ) without rowid;
    create unique index log_leaf_by_position on log_leaf (tenant, position) where position is not null;
    create index log_leaf_waiting on log_leaf (tenant, queued_ms, record, step) where position is null;
    create table log_node (
        tenant text not null, level integer not null, place integer not null, hash blob not null,
        primary key (tenant, level, place)
    ) without rowid;
    alter table record add column in_force integer not null default 0;
    alter table record add column until_ms integer not null default 0;
    alter table record add column log_position integer not null default 0;
    update record set until_ms = expires_ms, in_force = 1 + (select count(*) from event where event.record = record.id);
    """,
    # accounts: what each recipient has by now, of which days and ends there is one. What is stored is counted here once
    """
    create table tally (
        record text primary key, recipient text not null, confirmed_events integer not null,
        confirmed_samples integer not null, unknown_events integer not null, unknown_samples integer not null,
        last_event blob not null, accounts integer not null, account_ms integer not null, day text not null,
        last_day text not null
    ) without rowid;
    create index tally_by_day on tally (day, record) where day <> '';
    insert into tally select record, min(recipient), sum(case when outcome = 'confirmed' then 1 else 0 end),
        sum(case when outcome = 'confirmed' then samples else 0 end),
        sum(case when outcome = 'confirmed' then 0 else 1 end),
        sum(case when outcome = 'confirmed' then 0 else samples end),
        (select event_id from delivery as one where one.record = delivery.record
            and outcome in ('confirmed', 'refused', 'unknown') order by time_ms desc, event_id limit 1), 0, 0, '', ''
        from delivery where outcome in ('confirmed', 'refused', 'unknown') group by record;
    alter table record add column ended integer not null default 0;
    update record set ended = 1 where state not in ('given', 'suspended');
    create index record_to_end on record (expires_ms, id) where ended = 0;
    """,
    # the largest log that a vehicle's units or owners have seen and a restored store had not
    "alter table generation add column log_floor integer not null default 0;",
    # a recipient asks for what it had once more: when, how often an event went out again, and its last question
    """
    alter table outbox add column replay_ms integer;
    alter table delivery add column replayed integer not null default 0;
    create index outbox_by_time on outbox (recipient, created_ms, event_id);
    create index outbox_again on outbox (replay_until_ms, event_id)
        where replay_ms is not null and state in ('leased', 'queued');
    create table replay_question (
        recipient text primary key, first blob not null, asked_ms integer not null, next blob not null
    ) without rowid;
    create table replay_item (
        recipient text not null, event_id blob not null, kept text not null, attempts integer not null,
        primary key (recipient, event_id)
    ) without rowid;
    """,
    # when a recipient that shows what it got was told that a consent has ended
    """
    alter table record add column forgotten_ms integer;
    create index record_to_forget on record (recipient, id) where forgotten_ms is null;
    """,
    # by which a pinned key of the owner added or removed others, in the order in which they came
    """
    create table owner_token (
        vehicle blob not null, epoch integer not null, number integer not null, token text not null,
        primary key (vehicle, epoch, number)
    ) without rowid;
    """,
    # how new what a recipient shows is. What it showed before is not known: the next value counts as newer
    """
    create table shown (
        recipient text not null, record text not null, sensor text not null, t_ms integer not null,
        primary key (recipient, record, sensor)
    ) without rowid;
    """,
)


def require_known(version: int) -> None:
    """ConfigError ``store_newer`` for a schema that this program has no step to."""
    if version > len(STEPS):
        raise ConfigError(
            "store_newer", f"this store has version {version}, this program knows {len(STEPS)}: update Carnet"
        )
