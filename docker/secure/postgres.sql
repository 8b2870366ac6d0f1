-- Two users of PostgreSQL, with what the worker and ingest need, and nothing else. Run by the owner of the tables,
-- once they stand (metric-streams setup --database, or Laravel's migrations); again it only renews the passwords:
--
--   psql -v worker_password="…" -v ingest_password="…" -f docker/secure/postgres.sql
--
-- Add tenants as the owner, or as the application: neither of these two can.
\set ON_ERROR_STOP on

select format('create role %I', name) from unnest(array['metric_streams_worker', 'metric_streams_ingest']) name
where name not in (select rolname from pg_roles) \gexec
alter role metric_streams_worker login password :'worker_password';
alter role metric_streams_ingest login password :'ingest_password';

-- The worker looks whether a tenant exists.
grant select (id) on tenants to metric_streams_worker;

-- ingest writes rows, those that are there already among them, and the jobs that failed.
grant select, insert, update on metrics_raw to metric_streams_ingest;
grant usage on sequence metrics_raw_id_seq to metric_streams_ingest;
grant insert on failed_jobs to metric_streams_ingest;
grant usage on sequence failed_jobs_id_seq to metric_streams_ingest;
grant select (id) on tenants to metric_streams_ingest;
