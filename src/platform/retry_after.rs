//! The header `Retry-After`: seconds or an HTTP date.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

/// The longest pause that the platform may ask for.
pub(super) const LONGEST: Duration = Duration::from_mins(5);

/// How long the header asks to wait, at most [`LONGEST`]: seconds, or a date in any of the forms that HTTP knows.
/// Nonsense asks for nothing.
#[must_use]
pub(super) fn parse(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds)
            .ok()
            .map(|wait| wait.min(LONGEST))
            .or(
                // A number too large for a duration still asks to wait.
                (seconds.is_finite() && seconds > 0.0).then_some(LONGEST),
            );
    }
    let date = Timestamp::try_from(httpdate::parse_http_date(header).ok()?).ok()?;
    let wait = Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO);
    Some(wait.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_header_reads() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let seconds = |n| Some(Duration::from_secs(n));
        for (header, expected) in [
            ("0", seconds(0)),
            ("7", seconds(7)),
            (" 7 ", seconds(7)),
            ("1.5", Some(Duration::from_millis(1500))),
            ("99999999", Some(LONGEST)),
            ("1e300", Some(LONGEST)),
            ("Fri, 02 Jan 2026 03:04:35 GMT", seconds(30)),
            ("Fri, 02 Jan 2026 03:00:00 GMT", seconds(0)),
            ("Friday, 02-Jan-26 03:04:35 GMT", seconds(30)),
            ("Fri Jan  2 03:04:35 2026", seconds(30)),
            ("Sat, 02 Jan 2027 03:04:35 GMT", Some(LONGEST)),
            ("-1", None),
            ("NaN", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(parse(header, now), expected, "{header:?}");
        }
    }
}
