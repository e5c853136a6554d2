//! The mark: how far the outputs of a sink reach. It is stored with the records that it stands for.
use seam_shared::log::OffsetVector;
use seam_shared::time::Timestamp;
use seam_shared::{Error, Result};
use serde::{Deserialize, Serialize};

/// What was written up to now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The view's definition that it was written by: `name@hash`.
    pub definition: String,
    /// The log that positions are of.
    pub incarnation: String,
    /// The outputs say what the log's records below this make.
    pub coverage: OffsetVector,
    /// In mode `append`: windows up to this end are written.
    pub through: Option<Timestamp>,
}

impl Mark {
    /// Its bytes.
    ///
    /// # Errors
    /// Never in fact.
    pub fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| Error::internal("a sink's mark cannot be written").because(error))
    }
    /// Reads [`Mark::encode`] back.
    ///
    /// # Errors
    /// `Corrupt` if it is none.
    pub fn decode(bytes: &[u8]) -> Result<Mark> {
        serde_json::from_slice(bytes).map_err(|error| Error::corrupt("a sink's mark is damaged").because(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seam_shared::log::Offset;

    #[test]
    fn a_mark_reads_back() {
        let coverage = OffsetVector([(0, Offset(7)), (3, Offset(u64::MAX))].into());
        let (definition, incarnation) = ("clicks@ab".to_owned(), "n".to_owned());
        let mark = Mark { definition, incarnation, coverage, through: Some(Timestamp(-5)) };
        assert_eq!(Mark::decode(&mark.encode().unwrap()).unwrap(), mark);
        assert!(Mark::decode(b"{}").is_err());
    }
}
