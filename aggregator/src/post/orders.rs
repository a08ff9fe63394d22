//! Makes the poster's orders that a batch's posting mode calls for: one for its certificate, and
//! one for its validity proof.

use dac_chain::{ChainError, SettleOrder};
use dac_poster::Order;
use dac_types::{Domain, PostingMode};

use crate::batch::Batch;

/// Returns the order that takes a certified batch's certificate to L1 without a proof. It returns
/// none if the certificate goes there with the proof ([`PostingMode::records_certificate`]).
pub(crate) fn for_certificate(batch: &Batch, domain: &Domain) -> Option<Result<Order, ChainError>> {
    let certificate = batch.certificate()?;
    match batch.posting {
        PostingMode::Record => Some(Order::record(&certificate, domain)),
        PostingMode::Settle => None,
    }
}

/// Returns the order that settles a certified batch with its proof; none if it has no proof that
/// may settle it.
pub(crate) fn for_proof(batch: &Batch, domain: &Domain) -> Option<Result<Order, ChainError>> {
    let (certificate, proof) = (batch.certificate()?, batch.live_proof()?);
    let (transition, bytes) = (&proof.transition, &proof.bytes);
    let order = match batch.posting {
        PostingMode::Record => Ok(SettleOrder::recorded(&certificate.header, domain, transition, bytes)),
        PostingMode::Settle => SettleOrder::with_certificate(&certificate, domain, transition, bytes),
    };
    Some(order.map(|order| Order::from(&order)))
}

#[cfg(test)]
mod tests {
    use dac_types::Address;

    use super::*;
    use crate::batch::tests::certified;

    #[test]
    fn a_certificate_has_an_order_in_the_modes_that_record_it() {
        let domain = Domain { chain_id: 1, registry: Address::ZERO };
        for mode in PostingMode::ALL {
            let batch = certified().posted_by(mode);
            let order = for_certificate(&batch, &domain);
            assert_eq!(order.is_some(), mode.records_certificate(), "{}", mode.name());
            assert!(for_proof(&batch, &domain).is_none(), "there is no proof");
        }
    }
}
