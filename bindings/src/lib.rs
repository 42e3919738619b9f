//! `openmls._native`: what `openmls`, `openmls.delivery` and `openmls.client` re-export.
#[cfg(feature = "client")]
mod client;
mod delivery;
mod error;
mod guard;
mod key_pair;
mod openmls_error;
mod suite;
mod values;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFrozenSet};

const OPENMLS_VERSION: &str = "0.9.2";

/// The versions of this package and of OpenMLS, and the cargo features it was built with.
#[pyfunction]
fn versions(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let versions = PyDict::new(py);
    versions.set_item("openmls-py", env!("CARGO_PKG_VERSION"))?;
    versions.set_item("openmls", OPENMLS_VERSION)?;
    versions.set_item("features", if cfg!(feature = "client") { "client" } else { "" })?;
    Ok(versions)
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    guard::silence_panics();
    let py = module.py();
    module.add("MlsError", py.get_type::<error::MlsError>())?;
    module.add("ERROR_CODES", PyFrozenSet::new(py, error::Code::ALL)?)?;
    module.add_function(wrap_pyfunction!(versions, module)?)?;
    module.add_function(wrap_pyfunction!(guard::_panic, module)?)?;
    delivery::register(module)?;
    #[cfg(feature = "client")]
    client::register(module)?;
    Ok(())
}
