-- Run once by the container, when its database is made: the application's role is no superuser, and
-- the superuser has no password left, so that it signs in from inside the container alone.
\set ON_ERROR_STOP on
\getenv password POSTGRES_PASSWORD
CREATE ROLE reports LOGIN PASSWORD :'password';
CREATE DATABASE reports OWNER reports;
ALTER ROLE postgres PASSWORD NULL;
