//! A member's half: everything that holds a secret.
mod committing;
mod config;
mod device;
mod errors;
mod group;
mod joining;
mod processing;
mod proposing;
mod signer;
mod state;

use pyo3::prelude::*;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<signer::Signer>()?;
    module.add_class::<device::Client>()?;
    module.add_class::<committing::CommitBundle>()?;
    module.add_class::<group::Member>()?;
    module.add_class::<processing::Processed>()?;
    module.add_class::<group::Group>()
}
