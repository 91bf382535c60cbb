//! `HOST:PORT` on the command line: where others reach us.

use http::uri::Authority;

/// A host and its port.
pub(super) fn host_and_port(text: &str) -> Result<Authority, String> {
    let authority = text.parse().ok().filter(|authority: &Authority| {
        let has_port = authority.port_u16().is_some_and(|port| port > 0);
        has_port && !authority.host().is_empty() && !authority.as_str().contains('@')
    });
    authority.ok_or_else(|| "write a host and a port from 1 to 65535, such as llm-portfolio-operator.llm-portfolio.svc:6000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_port_are_taken_and_nothing_else_with_an_example() {
        for text in [
            "operator:6000",
            "llm-portfolio-operator.llm-portfolio.svc:1",
            "10.0.0.7:65535",
            "[fd00::7]:6000",
        ] {
            assert_eq!(host_and_port(text).map(|address| address.to_string()), Ok(text.to_owned()));
        }
        for text in [
            "",
            "operator",
            "operator:",
            ":6000",
            "operator:0",
            "operator:65536",
            "operator:http",
            "http://operator:6000",
            "a@operator:6000",
            "operator:6000/",
            "two words:6000",
            "fd00::7:6000",
        ] {
            assert!(
                host_and_port(text).unwrap_err().contains("such as llm-portfolio-operator"),
                "{text}"
            );
        }
    }
}
