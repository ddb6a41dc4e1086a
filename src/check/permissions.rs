//! What the operator has to be allowed to do: one table, which the manifests in `deploy/` grant.

use futures::{StreamExt, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};

use super::{Finding, Scope, Topic};
use crate::api::names;
use crate::controller::{KubeError, Served, call};

/// How many questions are asked at once.
const AT_ONCE: usize = 8;

/// One thing that the operator does to one kind of object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// Where; none: in every namespace, or the kind has none.
    pub namespace: Option<String>,
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Plural of the kind, with its subresource: `platformtokens/status`.
    pub resource: &'static str,
    /// The one object; none: any.
    pub name: Option<String>,
    /// What is done.
    pub verb: &'static str,
}

/// API group, resource, verbs.
type Rule = (&'static str, &'static str, &'static [&'static str]);

/// What every operator does in every namespace.
const EVERYWHERE: [Rule; 7] = [
    (
        names::GROUP,
        "platformtokens",
        &["get", "list", "watch", "patch"],
    ),
    (names::GROUP, "platformtokens/status", &["patch"]),
    (names::GROUP, "platformaccounts", &["get", "list", "watch"]),
    (names::GROUP, "platformaccounts/status", &["patch"]),
    (
        names::GROUP,
        "clusterplatformaccounts",
        &["get", "list", "watch"],
    ),
    (names::GROUP, "clusterplatformaccounts/status", &["patch"]),
    ("", "namespaces", &["get", "list", "watch"]),
];

/// What it does where it serves PlatformTokens.
const SERVED: [Rule; 2] = [
    (
        "",
        "secrets",
        &["get", "list", "watch", "create", "patch", "delete"],
    ),
    ("events.k8s.io", "events", &["create"]),
];

/// What it does in its own namespace, where the ledger and the credentials of ClusterPlatformAccounts are.
const OWN: [Rule; 1] = [(
    "",
    "secrets",
    &["get", "list", "watch", "create", "patch", "delete"],
)];

/// What it does in `default`, where events about ClusterPlatformAccounts are.
const DEFAULT: [Rule; 1] = [("events.k8s.io", "events", &["create"])];

/// What it does to elect a leader, to that one Lease. Nothing that is created has a name in RBAC.
const ELECTING: Rule = ("coordination.k8s.io", "leases", &["get", "update"]);
const ELECTING_FIRST: Rule = ("coordination.k8s.io", "leases", &["create"]);

/// Everything that an operator of this scope does.
#[must_use]
pub fn needed(scope: &Scope) -> Vec<Permission> {
    let Scope { served, own, lease } = scope;
    let mut needed = permissions(&EVERYWHERE, None);
    for namespace in served.watches() {
        needed.extend(permissions(&SERVED, namespace.as_deref()));
    }
    for (namespace, rules) in [(own.as_str(), &OWN), ("default", &DEFAULT)] {
        if !served.covers(Some(namespace)) {
            needed.extend(permissions(rules, Some(namespace)));
        }
    }
    if let Some(name) = lease {
        let of_one = permissions(&[ELECTING], Some(own)).into_iter();
        needed.extend(of_one.map(|permission| Permission {
            name: Some(name.clone()),
            ..permission
        }));
        needed.extend(permissions(&[ELECTING_FIRST], Some(own)));
    }
    needed
}

fn permissions(rules: &[Rule], namespace: Option<&str>) -> Vec<Permission> {
    let of_rule = |&(group, resource, verbs): &Rule| {
        verbs.iter().map(move |verb| Permission {
            namespace: namespace.map(str::to_owned),
            group,
            resource,
            name: None,
            verb,
        })
    };
    rules.iter().flat_map(of_rule).collect()
}

pub(super) async fn examine(client: &Client, scope: &Scope) -> Vec<Finding> {
    let needed = needed(scope);
    let asked = stream::iter(&needed)
        .map(|permission| async move { (permission, is_granted(client, permission).await) })
        .buffered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let mut findings = Vec::new();
    for (permission, answer) in &asked {
        match answer {
            Ok(true) => {}
            Ok(false) => {
                let text = permission.refusal(&scope.served);
                findings.push(Topic::Permissions.failure(text));
            }
            Err(error) => {
                let text = format!(
                    "whether the operator may {permission} cannot be asked: {error}; check that authenticated users \
                     may create selfsubjectaccessreviews"
                );
                findings.push(Topic::Permissions.failure(text));
            }
        }
    }
    if findings.is_empty() {
        let text = format!("all {} are granted", needed.len());
        findings.push(Topic::Permissions.ok(text));
    }
    findings
}

async fn is_granted(client: &Client, permission: &Permission) -> Result<bool, KubeError> {
    let (resource, subresource) = match permission.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (permission.resource, None),
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: permission.namespace.clone(),
                group: Some(permission.group.into()),
                resource: Some(resource.into()),
                name: permission.name.clone(),
                subresource,
                verb: Some(permission.verb.into()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = call(api.create(&PostParams::default(), &review)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

impl Permission {
    /// What to do is never to widen an install that reaches some namespaces alone.
    fn refusal(&self, served: &Served) -> String {
        let apply = match (served, &self.namespace) {
            (Served::Everywhere, _) => {
                "apply the manifests of this version: kubectl apply -k deploy".to_owned()
            }
            (Served::Only(namespaces), Some(namespace))
                if namespaces.contains(namespace) && self.is_of_a_served_namespace() =>
            {
                format!(
                    "give that namespace its Role: kubectl apply -n {namespace} -k deploy/namespaced/watched"
                )
            }
            (Served::Only(_), _) => {
                "apply your overlay with the manifests of this version, as docs/namespaces.md has it"
                    .to_owned()
            }
        };
        format!("the operator may not {self}; {apply}")
    }

    fn is_of_a_served_namespace(&self) -> bool {
        let mut rules = SERVED.iter();
        rules.any(|(group, resource, _)| (*group, *resource) == (self.group, self.resource))
    }
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, " ({})", self.group)?;
        }
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => f.write_str(" in every namespace"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};

    use super::*;

    const EVERYTHING: &str = include_str!("../../deploy/rbac.yaml");
    const ROLES: &str = include_str!("../../deploy/namespaced/roles.yaml");
    const WATCHED: &str = include_str!("../../deploy/namespaced/watched/role.yaml");

    /// Where, and what: `get /secrets `, with a name if it is of one object.
    type Grants = BTreeSet<(Option<String>, String)>;

    /// What the roles of a manifest grant; those without a namespace are applied to this one.
    fn granted(manifest: &str, applied_to: &str) -> Grants {
        let mut granted = Grants::new();
        for document in manifest.split("\n---\n") {
            let is = |kind: &str| document.lines().any(|line| line == format!("kind: {kind}"));
            let (namespace, rules): (_, Vec<PolicyRule>) = if is("ClusterRole") {
                let role: ClusterRole = serde_saphyr::from_str(document).unwrap();
                (None, role.rules.unwrap())
            } else if is("Role") {
                let role: Role = serde_saphyr::from_str(document).unwrap();
                let own = role.metadata.namespace;
                (own.or_else(|| Some(applied_to.into())), role.rules.unwrap())
            } else {
                continue;
            };
            for rule in rules {
                let name = rule.resource_names.unwrap_or_default().join(" ");
                for group in rule.api_groups.unwrap() {
                    for resource in rule.resources.as_ref().unwrap() {
                        granted.extend(rule.verbs.iter().map(|verb| {
                            let what = format!("{verb} {group}/{resource} {name}");
                            (namespace.clone(), what)
                        }));
                    }
                }
            }
        }
        granted
    }

    fn scope(served: &[&str]) -> Scope {
        Scope {
            served: Served::these(served.iter().map(|&name| name.to_owned())),
            own: names::OPERATOR.into(),
            lease: Some(names::OPERATOR.into()),
        }
    }

    fn asked(scope: &Scope) -> Grants {
        let needed = needed(scope).into_iter().map(|permission| {
            let Permission {
                namespace,
                group,
                resource,
                name,
                verb,
            } = permission;
            let name = name.unwrap_or_default();
            (namespace, format!("{verb} {group}/{resource} {name}"))
        });
        needed.collect()
    }

    #[test]
    fn the_manifests_grant_exactly_what_is_needed() {
        assert_eq!(asked(&scope(&[])), granted(EVERYTHING, "none"));
    }

    #[test]
    fn those_of_some_namespaces_grant_exactly_what_is_needed() {
        let mut all = granted(EVERYTHING, "none");
        // What the component takes out of the ClusterRole.
        let kept = |what: &str| !what.contains(" /secrets ") && !what.contains("/events ");
        all.retain(|(namespace, what)| namespace.is_some() || kept(what));
        all.extend(granted(ROLES, "none"));
        for namespace in ["a", "b"] {
            all.extend(granted(WATCHED, namespace));
        }
        assert_eq!(asked(&scope(&["a", "b"])), all);
    }

    #[test]
    fn nothing_is_asked_twice_where_the_operator_serves_its_own_namespace_or_default() {
        for scope in [scope(&[]), scope(&[names::OPERATOR, "default"])] {
            let needed = needed(&scope);
            let once: BTreeSet<_> = needed.iter().collect();
            assert_eq!(once.len(), needed.len(), "{needed:?}");
        }
    }

    #[test]
    fn what_is_to_be_done_about_a_missing_one_widens_nothing() {
        let own = names::OPERATOR;
        let role = |namespace: &str| {
            format!(
                "give that namespace its Role: kubectl apply -n {namespace} -k deploy/namespaced/watched"
            )
        };
        let overlay = || "apply your overlay with the manifests of this version".to_owned();
        let whole = || "apply the manifests of this version: kubectl apply -k deploy".to_owned();
        for (served, namespace, resource, advice) in [
            (&["a"][..], Some("a"), "secrets", role("a")),
            (&["a"], Some("a"), "events", role("a")),
            (&[own], Some(own), "secrets", role(own)),
            (&[own], Some(own), "leases", overlay()),
            (&["a"], Some(own), "secrets", overlay()),
            (&["a"], Some("default"), "events", overlay()),
            (&["a"], None, "platformtokens", overlay()),
            (&[], None, "secrets", whole()),
            (&[], Some(own), "leases", whole()),
        ] {
            let scope = scope(served);
            let asked = needed(&scope);
            let mut asked = asked.iter().filter(|one| one.resource == resource);
            let one = asked.find(|one| one.namespace.as_deref() == namespace);
            let said = one.unwrap().refusal(&scope.served);
            assert!(said.contains(&advice), "{said}");
            let widens = said.ends_with("kubectl apply -k deploy");
            assert_eq!(widens, served.is_empty(), "{said}");
        }
    }
}
