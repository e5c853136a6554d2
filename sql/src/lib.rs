//! SQL over the merged views: the PostgreSQL wire protocol, and Polars SQL behind it.
