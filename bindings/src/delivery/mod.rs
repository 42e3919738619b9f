//! What a delivery service may know: nothing here holds a secret of a group.
mod commit;
mod external_signer;
pub mod group_info;
mod hash_once;
pub mod key_package;
pub mod limits;
pub mod peek;
pub mod proposal;
mod public_group;
pub mod reader;
pub mod store;
mod stored_tree;
mod tracked;
pub mod tree;
pub mod welcome;

use pyo3::prelude::*;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<limits::Limits>()?;
    module.add_class::<limits::Policy>()?;
    module.add_class::<peek::MessageInfo>()?;
    module.add_class::<key_package::KeyPackageInfo>()?;
    module.add_class::<welcome::WelcomeInfo>()?;
    module.add_class::<group_info::GroupInfoView>()?;
    module.add_class::<public_group::MemberInfo>()?;
    module.add_class::<proposal::ProposedMember>()?;
    module.add_class::<proposal::ProposalInfo>()?;
    module.add_class::<commit::AddedMember>()?;
    module.add_class::<commit::RemovedMember>()?;
    module.add_class::<commit::UpdatedMember>()?;
    module.add_class::<commit::CommitInfo>()?;
    module.add_class::<public_group::PublicGroup>()?;
    module.add_class::<external_signer::ExternalSigner>()?;
    module.add_function(wrap_pyfunction!(peek::peek, module)?)?;
    module.add_function(wrap_pyfunction!(key_package::key_package, module)?)?;
    module.add_function(wrap_pyfunction!(welcome::welcome, module)?)?;
    module.add_function(wrap_pyfunction!(group_info::group_info, module)?)?;
    module.add_function(wrap_pyfunction!(group_info::verify_group_info, module)?)
}
