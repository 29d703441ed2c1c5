//! Pages of the audit record.

use shared::api::{ApiError, AuditView, ListQuery, Page, Role};
use shared::filter::{AUDIT_COLUMNS, Direction, Filter, SortKey, SortSpec};

use super::list::{Cursor, ListOf, fingerprint};
use super::{Caller, Service, bad, need, need_all_realms};
use crate::control::clock::Moment;
use crate::store::StoreError;

/// The order when none is asked for: that of the record itself, read backwards.
const DEFAULT_SORT: &str = "time:desc";
/// Records that a filter or another order is applied to: the newest. A page without either reaches
/// them all.
const MAX_SEARCHED: usize = 20_000;
/// Records read at once.
const CHUNK: usize = 1000;

impl Service {
    /// A page of audit records, the newest first. `total` is what the store keeps; a filter or
    /// another order looks at the newest 20,000 of them.
    ///
    /// # Errors
    /// Denied to anyone but operators of the whole cluster; the store is away.
    pub async fn audit(
        &self,
        caller: &Caller,
        query: &ListQuery,
    ) -> Result<Page<AuditView>, ApiError> {
        need(caller, Role::Operator)?;
        need_all_realms(caller)?;
        let filter_text = query.filter.as_deref().unwrap_or("");
        let sort_text = query.sort.as_deref().unwrap_or(DEFAULT_SORT);
        let filter = Filter::parse(filter_text, AUDIT_COLUMNS).map_err(|e| bad(e.to_string()))?;
        let sort = SortSpec::parse(sort_text, AUDIT_COLUMNS).map_err(|e| bad(e.to_string()))?;
        let total = self.store(self.hub.store.audit_count().await)?;
        let as_kept = sort.column == "time" && sort.direction == Direction::Descending;
        if as_kept && filter == Filter::default() {
            return self.audit_as_kept(query, &sort, total).await;
        }
        let list = ListOf {
            schema: "audit/1",
            columns: AUDIT_COLUMNS,
            default_sort: DEFAULT_SORT,
            rows: self.newest_audit().await?,
            missing: Vec::new(),
            query,
        };
        let page = list.page(|record| record.id.clone())?;
        Ok(Page { total, ..page })
    }

    /// A page in the order of the store, read from where the last one ended.
    async fn audit_as_kept(
        &self,
        query: &ListQuery,
        sort: &SortSpec,
        total: u64,
    ) -> Result<Page<AuditView>, ApiError> {
        let question = fingerprint("", &sort.to_string());
        let cursor = query.cursor.as_deref();
        let before = cursor
            .map(|text| Cursor::decode(text, &question))
            .transpose()?
            .map(|cursor| cursor.id);
        let size = query.page_size();
        let read = self.hub.store.audit(before.as_deref(), size + 1).await;
        let mut items = match read {
            Err(StoreError::Refused(reason)) if before.is_some() => {
                return Err(bad(format!("cursor: {reason}")));
            }
            read => self.store(read)?,
        };
        let more = items.len() > size;
        items.truncate(size);
        let next = items.last().filter(|_| more).map(|record| {
            let cursor = Cursor {
                question,
                key: SortKey::Missing,
                id: record.id.clone(),
                ranking: None,
            };
            cursor.encode()
        });
        Ok(Page {
            schema: "audit/1".to_owned(),
            as_of_ms: Moment::now().unix_ms,
            items,
            next,
            matched: total,
            total,
            missing: Vec::new(),
        })
    }

    async fn newest_audit(&self) -> Result<Vec<AuditView>, ApiError> {
        let mut rows: Vec<AuditView> = Vec::new();
        while rows.len() < MAX_SEARCHED {
            let before = rows.last().map(|record| record.id.clone());
            let read = self.hub.store.audit(before.as_deref(), CHUNK).await;
            let chunk = self.store(read)?;
            let last = chunk.len() < CHUNK;
            rows.extend(chunk);
            if last {
                break;
            }
        }
        Ok(rows)
    }
}
