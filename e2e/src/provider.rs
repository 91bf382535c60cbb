//! A commercial API that does as it is told.
