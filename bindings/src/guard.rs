//! The one door into Rust: outside the interpreter lock, and no panic passes it.
use std::cell::RefCell;
use std::panic::{catch_unwind, set_hook, AssertUnwindSafe};

use pyo3::prelude::*;

use crate::error::{refusal, Code, Outcome};

thread_local! {
    static PANICKED_AT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Panics leave their place for `guarded` to report and print nothing: their text may quote the input.
pub fn silence_panics() {
    set_hook(Box::new(|info| {
        if let Some(place) = info.location() {
            let file = place.file().rsplit('/').next().unwrap_or_default();
            PANICKED_AT.set(format!("{file}:{}", place.line()));
        }
    }));
}

pub fn guarded<T: Send>(py: Python<'_>, work: impl FnOnce() -> Outcome<T> + Send) -> PyResult<T> {
    let outcome = py.detach(|| {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            let place = PANICKED_AT.take();
            Err(refusal(Code::Panic, format!("panic at {place}")))
        })
    });
    outcome.map_err(|refusal| refusal.raise(py))
}

/// Panics, for the test that no panic reaches Python.
#[pyfunction]
pub fn _panic(py: Python<'_>) -> PyResult<()> {
    guarded(py, || panic!("on purpose"))
}
