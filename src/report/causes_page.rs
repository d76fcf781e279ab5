//! The reference page of the causes, made from what the program knows of each.

use std::fmt::Write;

use crate::vocab::Cause;

/// How the page begins.
const HEAD: &str = "\
# Causes

<!-- Made from the program's own table: UPDATE_REFERENCE=1 cargo test --lib causes_page -->

Each failed request (any status but 200) and each slow one (status 200, but the client had it only after `slow_after`, 0.9 s
by default) has exactly one primary cause out of the closed list below. Causes sum to failures; a run in which they did not
would stop. What else a request met contributes (`contributing`), and so does the pod, if it had the request for a tenth of
the limit or more.

## Which one is primary

1. A request that ends by an error (500, 502, 503): the first trouble of the connection that ended in it, lost packets left
   out, for they are sent again. What an earlier connect met and overcame contributes.
2. A wait that was too long (499, 504, slow): `pod-gone`, `ipvs-no-destination` or
   `conntrack-entry-gone`, if no answer could come; the pod, if the wait for its response alone exceeds the limit and the pod had
   the request for half of that wait or more. That is `worker-queue` if it waited for a worker longer than it was worked on,
   else `slow-service`. The limit is the client's patience for 499, the timeout of the SLB that ran out for 504, `slow_after`
   for a slow one.
3. Otherwise the first trouble on the way.
4. Without any trouble the pod, if it had the request for half of the whole time or more; else `slow-path`.

A collision names its release path besides: `failed_by_release_path`, `slow_requests.by_release_path`, and the column
`release_path` of `requests.csv`. What each path is, and what tells it from the others: [release paths](models/release-paths.md).

## All of them

Counters stand in `summary.json` under these names (`counters`); a table test holds that each of them moves where its cause
is at work.
";

/// The page, as it stands in `docs/causes.md`.
fn page() -> String {
    let mut page = HEAD.to_owned();
    page.push_str(
        "\n| cause | what it is | counters that it moves | where else it shows |\n|---|---|---|---|\n",
    );
    for about in Cause::ALL.map(Cause::about) {
        let counters: Vec<String> = about
            .counters
            .iter()
            .map(|(host, name)| format!("`{name}` ({host})"))
            .collect();
        let counters = if counters.is_empty() {
            "-".to_owned()
        } else {
            counters.join(", ")
        };
        writeln!(
            page,
            "| `{}` | {} | {counters} | {} |",
            about.name, about.definition, about.look
        )
        .expect("a string takes any text");
    }
    page
}

#[test]
fn causes_page_is_up_to_date() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/causes.md");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs_err::write(&path, page()).unwrap();
    }
    assert_eq!(
        fs_err::read_to_string(&path).unwrap_or_default(),
        page(),
        "docs/causes.md is out of date: UPDATE_REFERENCE=1 cargo test --lib causes_page"
    );
}
