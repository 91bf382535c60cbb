//! EvalJob → when to run, the Job of a run, the verdict over its report, and the status. A run's life:
//!
//! ```text
//! slot due ──► Job applied ──► report in the pod's termination message ──► judged ──► recorded in the status, once
//! ```

pub mod schedule;
