//! Clerk's objects as JSON, with every field that its published schema names.
//!
//! The fields that must never get past us are always filled (private and unsafe metadata, phone numbers,
//! invitation URLs, each with [`SECRET`] in it), so that any test may look for them in what we keep and say.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

/// A JSON object.
pub type Object = Map<String, Value>;

/// Stands in every field that must never be kept or shown, where the caller gave no other value. A phone
/// number's digits cannot spell it; those begin with [`SECRET_PHONE`].
pub const SECRET: &str = "not-for-your-eyes";
/// How every phone number begins.
pub const SECRET_PHONE: &str = "+1555010";

/// A user to be made; what is left out is as after a plain sign-up.
#[derive(Debug, Clone, Default)]
pub struct NewUser {
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// Username.
    pub username: Option<String>,
    /// The primary address.
    pub email: Option<String>,
    /// The user's id in the customer's own system.
    pub external_id: Option<String>,
    /// Whether the user has set a picture.
    pub has_image: bool,
    /// Public metadata.
    pub public_metadata: Object,
    /// Private metadata; a secret when empty.
    pub private_metadata: Object,
    /// Unsafe metadata; a secret when empty.
    pub unsafe_metadata: Object,
}

impl NewUser {
    /// A user with a name and an address.
    pub fn named(first_name: &str, last_name: &str, email: &str) -> Self {
        Self {
            first_name: Some(first_name.to_owned()),
            last_name: Some(last_name.to_owned()),
            email: Some(email.to_owned()),
            ..Self::default()
        }
    }
}

/// Takes the object out of a `json!({…})`.
pub fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

/// The text of a field; empty when there is none.
pub fn text<'a>(object: &'a Object, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The moment in a field.
pub fn moment(object: &Object, field: &str) -> i64 {
    object.get(field).and_then(Value::as_i64).unwrap_or(i64::MIN)
}

fn secret_when_empty(object: Object) -> Object {
    if object.is_empty() { self::object(json!({ "secret": SECRET })) } else { object }
}

/// A generated avatar, or the address of an uploaded picture.
pub fn image_url(instance_id: &str, id: &str, has_image: bool) -> String {
    let what = if has_image {
        let picture = id.rsplit('_').next().unwrap_or_default();
        json!({"type": "proxy", "src": format!("https://images.clerk.dev/uploaded/img_{picture}")})
    } else {
        json!({"type": "default", "iid": instance_id, "rid": id})
    };
    format!("https://img.clerk.com/{}", URL_SAFE_NO_PAD.encode(what.to_string()))
}

/// An address that its owner has verified with a code.
pub fn email_address(id: &str, address: &str, at_ms: i64) -> Value {
    json!({
        "id": id, "object": "email_address", "email_address": address, "reserved": false,
        "verification": {
            "object": "verification_otp", "status": "verified", "strategy": "email_code",
            "attempts": 1, "expire_at": at_ms + 600_000, "verified_at_client": null,
        },
        "linked_to": [], "matches_sso_connection": false, "created_at": at_ms, "updated_at": at_ms,
    })
}

fn phone_number(id: &str, last_digits: usize, at_ms: i64) -> Value {
    json!({
        "id": id, "object": "phone_number", "phone_number": format!("{SECRET_PHONE}{last_digits:04}"),
        "reserved_for_second_factor": false, "default_second_factor": false, "reserved": false,
        "verification": {
            "object": "verification_otp", "status": "verified", "strategy": "phone_code",
            "attempts": 1, "expire_at": at_ms + 600_000, "channel": "sms", "verified_at_client": null,
        },
        "linked_to": [], "backup_codes": null, "created_at": at_ms, "updated_at": at_ms,
    })
}

/// The ids that a new user comes with.
pub(super) struct UserIds {
    pub(super) user: String,
    pub(super) email: String,
    pub(super) phone: String,
    pub(super) last_digits: usize,
}

pub(super) fn user(instance_id: &str, ids: &UserIds, new: NewUser, at_ms: i64) -> Object {
    let image_url = image_url(instance_id, &ids.user, new.has_image);
    let email_id = new.email.is_some().then_some(&ids.email);
    let email_addresses: Vec<_> =
        new.email.iter().map(|address| email_address(&ids.email, address, at_ms)).collect();
    let mut user = object(json!({
        "id": ids.user, "object": "user", "external_id": new.external_id,
        "primary_email_address_id": email_id, "primary_phone_number_id": ids.phone,
        "primary_web3_wallet_id": null, "username": new.username,
        "first_name": new.first_name, "last_name": new.last_name, "locale": "en-US",
        "profile_image_url": image_url, "image_url": image_url, "has_image": new.has_image,
        "public_metadata": new.public_metadata,
        "private_metadata": secret_when_empty(new.private_metadata),
        "unsafe_metadata": secret_when_empty(new.unsafe_metadata),
        "email_addresses": email_addresses,
        "phone_numbers": [phone_number(&ids.phone, ids.last_digits, at_ms)],
        "web3_wallets": [], "passkeys": [], "external_accounts": [], "saml_accounts": [],
        "enterprise_accounts": [],
    }));
    user.extend(object(json!({
        "password_enabled": true, "password_last_updated_at": at_ms,
        "two_factor_enabled": false, "totp_enabled": false, "backup_code_enabled": false,
        "mfa_enabled_at": null, "mfa_disabled_at": null,
        "last_sign_in_at": null, "last_active_at": null,
        "banned": false, "locked": false, "deprovisioned": false,
        "lockout_expires_in_seconds": null, "verification_attempts_remaining": 100,
        "created_at": at_ms, "updated_at": at_ms,
        "delete_self_enabled": true, "create_organization_enabled": true,
        "create_organizations_limit": null, "legal_accepted_at": at_ms, "bypass_client_trust": false,
        "scim": null,
    })));
    user
}

pub(super) fn organization(
    instance_id: &str,
    id: &str,
    name: &str,
    created_by: Option<&str>,
    at_ms: i64,
) -> Object {
    let mut organization = object(json!({
        "object": "organization", "id": id, "name": name, "slug": slug(name),
        "image_url": image_url(instance_id, id, false), "has_image": false,
        "members_count": 0, "pending_invitations_count": 0,
        "missing_member_with_elevated_permissions": false,
        "max_allowed_memberships": 0, "admin_delete_enabled": true,
        "public_metadata": {}, "private_metadata": secret_when_empty(Object::new()),
        "created_at": at_ms, "updated_at": at_ms, "last_active_at": at_ms, "role_set_key": "role_set:default",
    }));
    if let Some(user_id) = created_by {
        organization.insert("created_by".to_owned(), user_id.into());
    }
    organization
}

fn slug(name: &str) -> String {
    let words: Vec<_> =
        name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.join("-").to_ascii_lowercase()
}

/// What a role is called where people read it.
pub fn role_name(role: &str) -> &str {
    match role {
        "org:admin" => "Admin",
        "org:member" => "Member",
        other => other.trim_start_matches("org:"),
    }
}

/// The system permissions that Clerk's own roles have.
pub fn permissions(role: &str) -> &'static [&'static str] {
    match role {
        "org:admin" => &[
            "org:sys_profile:manage",
            "org:sys_profile:delete",
            "org:sys_memberships:read",
            "org:sys_memberships:manage",
            "org:sys_domains:read",
            "org:sys_domains:manage",
            "org:sys_billing:read",
            "org:sys_billing:manage",
        ],
        _ => &["org:sys_memberships:read", "org:sys_billing:read"],
    }
}

/// A membership; its organization and its user are put in when it is shown.
pub(super) fn membership(id: &str, role: &str, public_metadata: &Object, at_ms: i64) -> Object {
    object(json!({
        "id": id, "object": "organization_membership", "role": role, "role_name": role_name(role),
        "permissions": permissions(role), "public_metadata": public_metadata,
        "private_metadata": secret_when_empty(Object::new()),
        "created_at": at_ms, "updated_at": at_ms,
    }))
}

/// What a membership says of its user.
pub fn public_user_data(user: &Object) -> Value {
    json!({
        "user_id": user.get("id"), "first_name": user.get("first_name"), "last_name": user.get("last_name"),
        "profile_image_url": user.get("image_url"), "image_url": user.get("image_url"),
        "has_image": user.get("has_image"), "identifier": identifier(user), "username": user.get("username"),
        "banned": user.get("banned"), "deprovisioned": user.get("deprovisioned").unwrap_or(&Value::Bool(false)),
    })
}

/// The user's main identifier: the primary address, else the username.
pub fn identifier(user: &Object) -> Value {
    let primary = user.get("primary_email_address_id");
    let addresses = user.get("email_addresses").and_then(Value::as_array).into_iter().flatten();
    let address =
        addresses.filter(|address| address.get("id") == primary).find_map(|one| one.get("email_address"));
    address.or_else(|| user.get("username")).cloned().unwrap_or(Value::Null)
}

pub(super) fn invitation(
    id: &str,
    (organization_id, email, role): (&str, &str, &str),
    inviter: Option<&Object>,
    issuer: &str,
    at_ms: i64,
) -> Object {
    const MONTH_MS: i64 = 30 * 24 * 3_600_000;
    object(json!({
        "object": "organization_invitation", "id": id, "email_address": email,
        "role": role, "role_name": role_name(role), "organization_id": organization_id,
        "inviter_id": inviter.and_then(|user| user.get("id")),
        "public_inviter_data": inviter.map(|user| json!({
            "user_id": user.get("id"), "first_name": user.get("first_name"), "last_name": user.get("last_name"),
            "image_url": user.get("image_url"), "has_image": user.get("has_image"),
            "identifier": identifier(user).as_str().unwrap_or_default(),
        })),
        "status": "pending", "public_metadata": {}, "private_metadata": secret_when_empty(Object::new()),
        "url": format!("{issuer}/v1/tickets/accept?ticket={SECRET}-{id}"),
        "expires_at": at_ms + MONTH_MS, "created_at": at_ms, "updated_at": at_ms,
    }))
}

/// What an accepted or revoked invitation says of its organization.
pub fn public_organization_data(organization: &Object) -> Value {
    let field = |name| organization.get(name);
    json!({
        "id": field("id"), "name": field("name"), "slug": field("slug"),
        "image_url": field("image_url"), "has_image": field("has_image"),
    })
}

pub(super) fn session(
    (id, client_id, activity_id): (&str, &str, &str),
    user: &Object,
    organization_id: Option<&str>,
    at_ms: i64,
) -> Object {
    const DAY_MS: i64 = 24 * 3_600_000;
    object(json!({
        "object": "session", "id": id, "user_id": user.get("id"), "user": user, "client_id": client_id,
        "actor": null, "status": "active", "last_active_organization_id": organization_id,
        "last_active_at": at_ms,
        "latest_activity": {
            "object": "session_activity", "id": activity_id, "device_type": "desktop", "is_mobile": false,
            "browser_name": "Firefox", "browser_version": "140.0", "ip_address": "192.0.2.10",
            "city": "Utrecht", "country": "NL",
        },
        "expire_at": at_ms + 7 * DAY_MS, "abandon_at": at_ms + 30 * DAY_MS,
        "updated_at": at_ms, "created_at": at_ms,
    }))
}

/// What the event of a deletion carries.
pub(super) fn deleted(kind: &str, gone: &Object) -> Object {
    let mut deleted = object(json!({ "object": kind, "id": gone.get("id"), "deleted": true }));
    for field in ["slug", "external_id"] {
        if let Some(value @ Value::String(_)) = gone.get(field) {
            deleted.insert(field.to_owned(), value.clone());
        }
    }
    deleted
}
