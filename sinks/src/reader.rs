//! The records of the log between two coverages, decoded and judged as the layers judge them.
use std::collections::BTreeMap;
use std::sync::Arc;

use seam_shared::event::batch::EventBatch;
use seam_shared::event::decode::Decoder;
use seam_shared::event::duplicates::Duplicates;
use seam_shared::event::lookback;
use seam_shared::log::{EventLog, Offset, OffsetVector, Partition};
use seam_shared::view::definition::Source;
use seam_shared::{Error, Result};

/// Where it stands in one partition.
struct Place {
    position: Offset,
    decoder: Decoder,
    duplicates: Duplicates,
}

/// Reads a source's records, from whichever tier of the log holds them.
pub struct Reader {
    log: Arc<dyn EventLog>,
    source: Arc<Source>,
    places: BTreeMap<u32, Place>,
}

impl Reader {
    /// It has read nothing yet.
    pub fn new(log: Arc<dyn EventLog>, source: Arc<Source>) -> Reader {
        Reader { log, source, places: BTreeMap::new() }
    }

    /// Hands over all records from one coverage to another.
    ///
    /// # Errors
    /// Those of the log, `NotFound` where neither it nor the archive holds a record any more; those of `each`.
    pub async fn read(
        &mut self,
        from: &OffsetVector,
        to: &OffsetVector,
        mut each: impl FnMut(&EventBatch) -> Result<()>,
    ) -> Result<()> {
        for (&number, &end) in &to.0 {
            let begin = from.get(number);
            if begin >= end {
                continue;
            }
            let partition = Partition::new(self.source.name.as_str(), number);
            let mut place = match self.places.remove(&number).filter(|place| place.position == begin) {
                Some(place) => place,
                None => self.stand(&partition, begin).await?,
            };
            while place.position < end {
                let chunk = lookback::read_below(self.log.as_ref(), &partition, place.position, end).await?;
                if chunk.next == place.position {
                    let message = format!("log {partition} does not give the records from {} on yet", place.position);
                    return Err(Error::unavailable(message));
                }
                place.position = chunk.next;
                let mut batch = place.decoder.decode(&chunk);
                place.duplicates.mark(&mut batch);
                each(&batch)?;
                tokio::task::yield_now().await;
            }
            place.decoder.reset();
            self.places.insert(number, place);
        }
        Ok(())
    }

    async fn stand(&self, partition: &Partition, position: Offset) -> Result<Place> {
        let mut decoder = Decoder::new(self.source.clone());
        let log = self.log.as_ref();
        let duplicates = lookback::duplicates(log, partition, &self.source, &mut decoder, position).await?;
        decoder.reset();
        Ok(Place { position, decoder, duplicates })
    }
}
