//! What the operator has to be allowed to do: one table, which the manifests in `deploy/` grant.

use futures::{StreamExt, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};

use super::{Finding, Scope, Topic};
use crate::api::names;
use crate::controller::{KubeError, call};
use crate::lease::Place;

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

/// What it does to elect a leader, to that one Lease. Nothing that is created has a name in RBAC.
const ELECTING: Rule = ("coordination.k8s.io", "leases", &["get", "update"]);
const ELECTING_FIRST: Rule = ("coordination.k8s.io", "leases", &["create"]);

/// Everything that an operator of this scope does.
#[must_use]
pub fn needed(scope: &Scope) -> Vec<Permission> {
    let mut needed = permissions(&EVERYWHERE, None);
    for namespace in scope.served.watches() {
        needed.extend(permissions(&SERVED, namespace.as_deref()));
    }
    if let Some(Place { namespace, name }) = &scope.lease {
        let of_one = permissions(&[ELECTING], Some(namespace)).into_iter();
        needed.extend(of_one.map(|permission| Permission {
            name: Some(name.clone()),
            ..permission
        }));
        needed.extend(permissions(&[ELECTING_FIRST], Some(namespace)));
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
            Ok(false) => findings.push(Topic::Permissions.failure(permission.refusal())),
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
    fn refusal(&self) -> String {
        format!(
            "the operator may not {self}; apply the manifests of this version: kubectl apply -k deploy"
        )
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

    use k8s_openapi::api::rbac::v1::{ClusterRole, Role};

    use super::*;
    use crate::controller::Served;

    #[test]
    fn the_manifests_grant_exactly_what_is_needed() {
        let documents = include_str!("../../deploy/rbac.yaml").split("\n---\n");
        let mut granted = BTreeSet::new();
        for document in documents {
            let (namespace, rules) = if document.contains("\nkind: ClusterRole\n") {
                let role: ClusterRole = serde_saphyr::from_str(document).unwrap();
                (None, role.rules.unwrap())
            } else if document.contains("\nkind: Role\n") {
                let role: Role = serde_saphyr::from_str(document).unwrap();
                (role.metadata.namespace, role.rules.unwrap())
            } else {
                continue;
            };
            for rule in rules {
                let names = rule.resource_names.unwrap_or_default();
                let name = names.first().map_or(String::new(), Clone::clone);
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
        let scope = Scope {
            served: Served::Everywhere,
            lease: Some(Place {
                namespace: names::OPERATOR.into(),
                name: names::OPERATOR.into(),
            }),
        };
        let needed = needed(&scope).into_iter().map(|permission| {
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
        assert_eq!(needed.collect::<BTreeSet<_>>(), granted);
    }

    #[test]
    fn the_role_of_a_served_namespace_grants_exactly_what_is_done_there() {
        let document = include_str!("../../deploy/namespaced/watched/role.yaml");
        let role: Role = serde_saphyr::from_str(document.split("\n---\n").next().unwrap()).unwrap();
        let granted: Vec<_> = role
            .rules
            .unwrap()
            .into_iter()
            .map(|rule| {
                (
                    rule.api_groups.unwrap(),
                    rule.resources.unwrap(),
                    rule.verbs,
                )
            })
            .collect();
        let owned = |text: &str| text.to_owned();
        let served = SERVED.iter().map(|(group, resource, verbs)| {
            let verbs: Vec<_> = verbs.iter().map(|verb| owned(verb)).collect();
            (vec![owned(group)], vec![owned(resource)], verbs)
        });
        assert_eq!(served.collect::<Vec<_>>(), granted);
    }

    #[test]
    fn secrets_are_asked_for_where_tokens_are_served() {
        let scope = Scope {
            served: Served::these(["a".into(), "b".into()]),
            lease: Some(Place {
                namespace: "operator".into(),
                name: "lease".into(),
            }),
        };
        let needed = needed(&scope);
        let places = |resource: &str| {
            let of = needed.iter().filter(|one| one.resource == resource);
            of.map(|one| one.namespace.clone()).collect::<BTreeSet<_>>()
        };
        assert_eq!(
            places("secrets"),
            [Some("a".into()), Some("b".into())].into()
        );
        assert_eq!(places("platformtokens"), [None].into());
        assert_eq!(places("leases"), [Some("operator".into())].into());
    }
}
