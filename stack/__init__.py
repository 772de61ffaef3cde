"""What SchedulerX runs on when nobody brought a database: Postgres, Valkey and an S3 store from wheels.

This package stays cheap to import: every script that schedules a post asks `stack.home.load_stack`
where the database is, so nothing heavy may be imported here or there.
"""
