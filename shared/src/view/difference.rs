//! How two tables of partials differ: what the audit and a rebuild count.
use std::collections::BTreeMap;

use crate::time::Timestamp;
use crate::view::aggregate::State;
use crate::view::rows::Rows;
use crate::view::value::Value;

/// How many groups of two tables are not the same in both. Each table holds a group once; their order is of no account.
pub fn difference(expected: Rows, found: Rows) -> u64 {
    if expected == found {
        return 0;
    }
    let mut groups: BTreeMap<(Timestamp, Vec<Value>), [Option<Vec<State>>; 2]> = BTreeMap::new();
    for (side, rows) in [expected, found].iter().enumerate() {
        for i in 0..rows.len() {
            let key = (0..rows.dimensions.len()).map(|d| rows.value(d, i).clone()).collect();
            let states = rows.states.iter().map(|column| column.get(i)).collect();
            groups.entry((rows.panes[i], key)).or_default()[side] = Some(states);
        }
    }
    groups.values().filter(|[expected, found]| expected != found).count() as u64
}
