//! Whether a model can do what a request needs, as far as its ModelDeployment says.

use crate::api::model_deployment::Capabilities;
use crate::protocol::chat::Unsupported;
pub use crate::protocol::exchange::Needs;

/// The first thing that a model of these capabilities cannot do; what is not declared is not checked.
///
/// # Errors
/// Names it.
pub fn check(needs: &Needs, capabilities: &Capabilities) -> Result<(), Unsupported> {
    let lacks = |needed: bool, has: Option<bool>| needed && has == Some(false);
    let cannot = |field: &str, problem: String| Err(Unsupported::new(field, problem));
    if lacks(needs.tools, capabilities.tools) {
        return cannot("tools", "are given, and the model calls none".to_owned());
    }
    if lacks(needs.images, capabilities.images) {
        return cannot("messages", "hold images, and the model sees none".to_owned());
    }
    if lacks(needs.json_schema, capabilities.json_schema) {
        return cannot("response_format", "is a JSON schema, and the model keeps to none".to_owned());
    }
    if lacks(needs.embeddings, capabilities.embeddings) {
        return cannot("model", "makes no embeddings".to_owned());
    }
    if let (Some(limit), Some(wanted)) = (capabilities.max_output_tokens, needs.output_tokens)
        && wanted > u64::from(limit)
    {
        return cannot("max_tokens", format!("is {wanted}, and the model gives {limit} at most"));
    }
    if let Some(limit) = capabilities.context_tokens
        && needs.prompt_tokens_at_least > u64::from(limit)
    {
        return cannot(
            "messages",
            format!(
                "have some {} tokens at least, and the model holds {limit}",
                needs.prompt_tokens_at_least
            ),
        );
    }
    Ok(())
}
