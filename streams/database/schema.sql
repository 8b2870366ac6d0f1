-- The tables as Laravel's migrations create them on PostgreSQL (types, names of keys and indexes),
-- so that the application and `metric-streams ingest` can share a database, whoever made it.
-- Every statement leaves alone what is there: running this twice, or on Laravel's own tables, is safe.

create table if not exists tenants (
    id uuid not null,
    name varchar(255) not null,
    settings json null,
    created_at timestamp(0) without time zone null,
    updated_at timestamp(0) without time zone null,
    constraint tenants_pkey primary key (id)
);

create table if not exists metrics_raw (
    id bigserial not null,
    tenant_id uuid not null,
    agent_id varchar(64) not null,
    metric_name varchar(64) not null,
    value double precision not null,
    "timestamp" timestamp(6) without time zone not null,
    dedupe_id varchar(128) null,
    constraint metrics_raw_pkey primary key (id),
    constraint metrics_raw_tenant_id_foreign foreign key (tenant_id) references tenants (id) on delete cascade,
    constraint metrics_raw_tenant_id_dedupe_id_unique unique (tenant_id, dedupe_id)
);

create index if not exists metrics_raw_tenant_id_metric_name_timestamp_index
    on metrics_raw (tenant_id, metric_name, "timestamp");

create table if not exists failed_jobs (
    id bigserial not null,
    uuid varchar(255) not null,
    connection text not null,
    queue text not null,
    payload text not null,
    exception text not null,
    failed_at timestamp(0) without time zone not null default current_timestamp,
    constraint failed_jobs_pkey primary key (id),
    constraint failed_jobs_uuid_unique unique (uuid)
);

-- Tells every worker which tenant to ask for again. The empty payload means: any of them.
create or replace function metric_streams_notify_tenant() returns trigger language plpgsql as $$
begin
    if tg_level = 'STATEMENT' then
        perform pg_notify('metric_streams_tenants', '');
        return null;
    end if;
    if tg_op <> 'INSERT' then
        perform pg_notify('metric_streams_tenants', old.id::text);
    end if;
    if tg_op <> 'DELETE' then
        perform pg_notify('metric_streams_tenants', new.id::text);
    end if;
    return null;
end
$$;

create or replace trigger metric_streams_tenants_changed
    after insert or delete or update of id on tenants
    for each row execute function metric_streams_notify_tenant();

create or replace trigger metric_streams_tenants_emptied
    after truncate on tenants
    for each statement execute function metric_streams_notify_tenant();
