//! Calls view functions of contracts: from one endpoint, or alike from as many as must agree.

use alloy::primitives::Address;
use alloy::sol_types::SolCall;

use crate::error::ChainError;
use crate::rpc::{At, Call, Endpoints};

/// Calls a view function of the contract at `address`; `name` is what errors call the contract.
pub(crate) async fn view<C: SolCall>(
    endpoints: &Endpoints,
    name: &'static str,
    address: Address,
    call: C,
    at: At,
) -> Result<C::Return, ChainError> {
    // Endpoints may have different newest blocks. If several must agree, the call is made at one
    // block that all of them have.
    let at = match at {
        At::Latest => endpoints.pinned(0).await?.map_or(At::Latest, |block| At::Hash(block.hash)),
        at => at,
    };
    let request = &Call::view(address, call.abi_encode());
    let malformed = |endpoint: &str, error: alloy::sol_types::Error| ChainError::Malformed {
        endpoint: endpoint.to_owned(),
        method: "eth_call",
        reason: format!("{}: {error}", C::SIGNATURE),
    };
    let malformed = &malformed;
    let data = endpoints
        .agreed("a contract's state", |endpoint| async move {
            let data = endpoint.call(request, at).await?.map_err(ChainError::Reverted)?;
            // An address without code answers every call with nothing.
            if data.is_empty() {
                return Err(ChainError::NoContract { contract: name, address });
            }
            C::abi_decode_returns_validate(&data).map_err(|error| malformed(endpoint.name(), error))?;
            Ok(data)
        })
        .await?;
    C::abi_decode_returns_validate(&data).map_err(|error| malformed("L1", error))
}
