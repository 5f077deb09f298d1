//! The end of a run as JSON.

use std::time::Duration;

use hob_model::sandbox::RunEnd;

use super::encode::put_json;

/// Appends all that is known of an end: times in milliseconds, memory in bytes, `null` where
/// nobody knows.
pub(super) fn put_end(out: &mut Vec<u8>, end: &RunEnd) {
    let message = &end.end.message;
    let times = &end.times;
    let number = |value: Option<String>| value.unwrap_or_else(|| "null".into());
    let head = format!(
        "{{\"code\":{},\"end\":\"{}\",\"message\":",
        end.code, end.end.reason
    );
    out.extend_from_slice(head.as_bytes());
    match message.is_empty() {
        true => out.extend_from_slice(b"null"),
        false => put_json(out, message.as_bytes()),
    }
    let rest = format!(
        ",\"signal\":{},\"deadline\":{},\"queue_ms\":{},\"start_ms\":{},\"run_ms\":{},\"cpu_ms\":{},\"memory\":{}}}",
        number(end.signal.map(|signal| signal.to_string())),
        end.by_deadline,
        millis(times.queue),
        millis(times.start),
        millis(times.run),
        number(end.cpu.map(millis)),
        number(end.memory.map(|bytes| bytes.to_string())),
    );
    out.extend_from_slice(rest.as_bytes());
}

/// Milliseconds with up to three decimals.
fn millis(time: Duration) -> String {
    let micros = time.as_micros();
    let text = format!("{}.{:03}", micros / 1000, micros % 1000);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use hob_model::{End, EndReason, sandbox::RunTimes};

    use super::*;

    #[test]
    fn an_end_is_told_with_its_times_and_what_nobody_knows_is_null() {
        let mut end = RunEnd {
            code: -1,
            signal: Some(9),
            end: End::new(EndReason::Timeout, "over its 1s"),
            by_deadline: true,
            times: RunTimes {
                queue: Duration::from_micros(120),
                start: Duration::from_micros(1_300),
                run: Duration::from_millis(1_000),
            },
            cpu: Some(Duration::from_nanos(3_100_900)),
            memory: Some(1_234_567),
        };
        let mut out = Vec::new();
        put_end(&mut out, &end);
        assert_eq!(
            String::from_utf8_lossy(&out),
            r#"{"code":-1,"end":"timeout","message":"over its 1s","signal":9,"deadline":true,"queue_ms":0.12,"start_ms":1.3,"run_ms":1000,"cpu_ms":3.1,"memory":1234567}"#
        );
        end.end = End::new(EndReason::Ok, "");
        end.by_deadline = false;
        (end.signal, end.cpu, end.memory) = (None, None, None);
        out.clear();
        put_end(&mut out, &end);
        assert_eq!(
            String::from_utf8_lossy(&out),
            r#"{"code":-1,"end":"ok","message":null,"signal":null,"deadline":false,"queue_ms":0.12,"start_ms":1.3,"run_ms":1000,"cpu_ms":null,"memory":null}"#
        );
    }
}
