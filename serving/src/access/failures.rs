//! Wrong keys by address: whoever shows too many is told to wait, until it shows a right one. Keys cannot be guessed; so who is
//! known is not shut out for somebody else's guesses behind the same address.
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use seam_shared::config::Rate;
use seam_shared::lock::lock;

/// Addresses that are remembered at most.
const ADDRESSES: usize = 16_384;

/// The failures of late.
#[derive(Debug)]
pub struct Failures {
    allowed: Option<Rate>,
    /// By address: since when is counted, and how many.
    seen: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

impl Failures {
    /// None yet; `allowed` of one address.
    pub fn new(allowed: Option<Rate>) -> Failures {
        Failures { allowed, seen: Mutex::default() }
    }
    /// How long an address has to wait.
    pub fn wait(&self, address: IpAddr) -> Option<Duration> {
        let (count, per) = self.allowed.map(parts)?;
        let seen = lock(&self.seen);
        let (since, failures) = seen.get(&network(address))?;
        if *failures < count { None } else { per.checked_sub(since.elapsed()).filter(|wait| !wait.is_zero()) }
    }
    /// Counts one more.
    pub fn note(&self, address: IpAddr) {
        let Some((_, per)) = self.allowed.map(parts) else { return };
        let now = Instant::now();
        let is_over = |since: &Instant| now.duration_since(*since) >= per;
        let mut seen = lock(&self.seen);
        if seen.len() >= ADDRESSES {
            seen.retain(|_, (since, _)| !is_over(since));
            if seen.len() >= ADDRESSES {
                seen.clear();
            }
        }
        let (since, failures) = seen.entry(network(address)).or_insert((now, 0));
        if is_over(since) {
            (*since, *failures) = (now, 0);
        }
        *failures = failures.saturating_add(1);
    }
}

fn parts(rate: Rate) -> (u32, Duration) {
    (rate.count, Duration::from_micros(rate.per.0.unsigned_abs()))
}

/// What one client has: an IPv4 address, or the first half of an IPv6 address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_waits_after_too_many_and_others_do_not() {
        let failures = Failures::new(Rate::parse("3/h"));
        let (one, other): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        for _ in 0..3 {
            assert_eq!(failures.wait(one), None);
            failures.note(one);
        }
        assert!(failures.wait(one).is_some_and(|wait| wait > Duration::from_secs(3_500)));
        assert_eq!(failures.wait(other), None);
        let (a, b): (IpAddr, IpAddr) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        (0..3).for_each(|_| failures.note(a));
        assert!(failures.wait(b).is_some(), "a client has all of its network's addresses");
        let never = Failures::new(None);
        (0..99).for_each(|_| never.note(one));
        assert_eq!(never.wait(one), None);
    }
}
