//! Workers stepped by hand: what a reader gets that comes in the middle of something.

mod harness;
mod readers;
