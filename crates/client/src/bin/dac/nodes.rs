//! Checks the node of an operator that is about to get a seat, by its own description.

use std::str::FromStr as _;

use dac_client::{Dialer, EndpointUrl, MemberClient, MemberDescription, MemberFault, Patience};
use dac_types::{Domain, PublicKeyBytes};

/// Asks a node for its description.
pub(crate) async fn ask(dialer: &Dialer, url: &str) -> Result<MemberDescription, MemberFault> {
    let url = EndpointUrl::from_str(url)?;
    MemberClient::connect(dialer, url.as_str(), Patience::default()).await?.describe().await
}

/// Checks that a node of this committee with this key answers at a URL.
pub(crate) async fn look(
    dialer: &Dialer,
    domain: Domain,
    url: &str,
    key: &PublicKeyBytes,
) -> Result<MemberDescription, String> {
    let member = ask(dialer, url).await.map_err(|fault| format!("its node at {url}: {fault}"))?;
    if (member.chain_id, member.registry) != (domain.chain_id, domain.registry) {
        return Err(format!("the node at {url} belongs to another committee"));
    }
    if member.public_key != *key {
        // The operator's old node may answer at the URL until the new epoch begins.
        return Err(format!(
            "the node at {url} has key {}, registered is {key}: have the right one there when the epoch begins",
            member.public_key
        ));
    }
    Ok(member)
}
