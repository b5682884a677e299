//! An audit log that takes everything and keeps nothing: no property of the simulation is about it.

use async_trait::async_trait;
use jiff::Timestamp;
use trimtab::domain::audit::{AuditRecord, Entry, Head};
use trimtab::ports::audit::{Audit, AuditError};

pub struct Forgetful;

#[async_trait]
impl Audit for Forgetful {
    async fn append(&self, _at: Timestamp, _entry: Entry) -> Result<u64, AuditError> {
        Ok(1)
    }

    async fn followed(&self) -> Result<u64, AuditError> {
        Ok(0)
    }

    async fn follow(&self, _from: u64, _to: u64, _entries: Vec<(Timestamp, Entry)>) -> Result<(), AuditError> {
        Ok(())
    }

    async fn read(&self, _after: u64, _limit: usize) -> Result<Vec<AuditRecord>, AuditError> {
        Ok(Vec::new())
    }

    async fn length(&self) -> Result<u64, AuditError> {
        Ok(0)
    }

    async fn verify(&self) -> Result<Head, AuditError> {
        Ok(Head::default())
    }

    async fn delivered(&self, _hook: &str, _delivery: &str) -> Result<bool, AuditError> {
        Ok(false)
    }

    async fn remember_delivery(&self, _hook: &str, _delivery: &str) -> Result<(), AuditError> {
        Ok(())
    }
}
