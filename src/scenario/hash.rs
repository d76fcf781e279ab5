//! The hash of a resolved scenario: two scenarios of one hash give the same figures.

use crate::spec::Plan;

/// FNV-1a, 64 bits, over the plan's debug text; names, questions and expectations decide no figure and are left out.
pub(super) fn of(plan: &Plan) -> String {
    let mut plan = plan.clone();
    plan.name.clear();
    plan.hash.clear();
    plan.question = None;
    plan.expectations.clear();
    plan.clients.iter_mut().for_each(|client| client.name.clear());
    for node in &mut plan.nodes {
        node.name.clear();
        node.cluster.clear();
    }
    plan.services.iter_mut().for_each(|service| service.name.clear());
    plan.pods.iter_mut().for_each(|pod| pod.name.clear());
    format!("{:016x}", fnv1a(format!("{plan:?}").as_bytes()))
}

/// The parameters are those of the FNV specification (draft-eastlake-fnv, section 5).
fn fnv1a(octets: &[u8]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn hash_is_fnv1a() {
        assert_eq!(super::fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(super::fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
