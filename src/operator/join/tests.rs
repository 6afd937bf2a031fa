//! A join against a model that keeps every record and knows nothing of order, silence or crashes.
