//! Workers stepped by hand: what a reader gets that comes in the middle of something. Hosts and groups of workers of which
//! one fails: what stops, and what goes on.

mod failing_hosts;
mod failing_workers;
mod harness;
mod readers;
