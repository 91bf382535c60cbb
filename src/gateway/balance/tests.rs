//! Which endpoint gets a request.

use super::*;

fn urls(count: usize) -> Vec<Uri> {
    (0..count).map(|n| format!("http://10.0.0.{n}:8000/v1").parse().unwrap()).collect()
}

#[test]
fn requests_without_a_beginning_are_shared_out() {
    let (balancer, urls) = (Balancer::default(), urls(3));
    let places: Vec<_> = (0..300).map(|_| balancer.pick(&urls[..], &[], None).unwrap()).collect();
    for url in &urls {
        let here = places.iter().filter(|(u, _)| *u == url).count();
        assert!((90..110).contains(&here), "{here}");
    }
}

#[test]
fn of_two_the_less_busy_one_is_taken_and_a_place_is_given_back() {
    let (balancer, urls) = (Balancer::default(), urls(2));
    let (first, place) = balancer.pick(&urls[..1], &[], None).unwrap();
    assert!((0..50).all(|_| balancer.pick(&urls[..], &[], None).unwrap().0 != first));
    drop(place);
    assert_eq!(balancer.pick(&urls[..], &[&urls[1]], None).unwrap().0, first);
    assert!(balancer.pick(&urls[..1], &[&urls[0]], None).is_none());
    assert!(balancer.pick(&urls[..0], &[], None).is_none());
}

#[test]
fn one_that_rests_is_left_out_unless_all_do() {
    let (balancer, urls) = (Balancer::default(), urls(2));
    let fail = |url: &Uri| {
        let only = [url.clone()];
        for _ in 0..3 {
            balancer.pick(&only[..], &[], None).unwrap().1.failed();
        }
    };
    fail(&urls[0]);
    assert!(!balancer.any_is_well(&urls[..1], &[]) && balancer.any_is_well(&urls[..], &[]));
    for beginning in [None, Some(1), Some(2), Some(3)] {
        assert_eq!(balancer.pick(&urls[..], &[], beginning).unwrap().0, &urls[1]);
    }
    assert!(!balancer.any_is_well(&urls[..], &[&urls[1]]));
    fail(&urls[1]);
    assert_eq!(balancer.pick(&urls[..], &[], None).unwrap().0, &urls[0], "it comes back first");
    assert_eq!(balancer.pick(&urls[..], &[&urls[0]], None).unwrap().0, &urls[1]);
}

#[test]
fn conversations_that_began_alike_share_an_endpoint() {
    let (balancer, urls) = (Balancer::default(), urls(4));
    let (own, _place) = balancer.pick(&urls[..], &[], Some(7)).unwrap();
    assert!((0..20).all(|_| balancer.pick(&urls[..], &[], Some(7)).unwrap().0 == own));
    assert_ne!(balancer.pick(&urls[..], &[own], Some(7)).unwrap().0, own);
}

#[test]
fn idle_endpoints_are_forgotten_and_busy_ones_are_not() {
    let balancer = Balancer::default();
    let busy = urls(1);
    let _place = balancer.pick(&busy[..], &[], None).unwrap();
    for n in 0..2 * REMEMBERED {
        let url: Uri = format!("http://host-{n}/v1").parse().unwrap();
        balancer.pick(&[url][..], &[], None).unwrap();
    }
    let known = balancer.0.lock().unwrap();
    assert!(known.len() <= REMEMBERED && known[&Address(busy[0].clone(), 0)].busy() == 1);
}
