//! The lake: where Parquet lives, over `Arc<dyn ObjectStore>`, and the Delta log that says which files count.
