// What each reason for a rejection means, and what mends it.

export const REASONS = {
  quota_exceeded: ["The tenant sent more than QUOTA_MESSAGES_PER_S or QUOTA_BYTES_PER_S allow.", "Let its devices send less, or raise the quota; then replay, with --rate if they are many."],
  topic_malformed: ["The topic has not the levels metrics/{tenant}/{agent}/{metric}.", "Correct the device's topic; a replay would be rejected again."],
  payload_not_json: ["The payload is no JSON.", "Correct what the device sends; a replay would be rejected again."],
  payload_not_object: ["The payload is JSON, but no object.", "Send an object with a value; a replay would be rejected again."],
  payload_too_large: ["The payload is larger than 64 KiB, and was cut.", "Send less at a time; what was cut cannot be replayed."],
  value_missing: ["The payload has no value.", "Let the device send a value; a replay would be rejected again."],
  value_not_a_number: ["The value is no number.", "Send a number; a replay would be rejected again."],
  value_out_of_range: ["The value does not fit the column.", "Check the device's unit; a replay would be rejected again."],
  timestamp_invalid: ["The timestamp has none of the forms that have one meaning.", "Send RFC 3339 or Unix time; a replay would be rejected again."],
  timestamp_out_of_range: ["The timestamp lies before MIN_TIMESTAMP or too far in the future.", "Set the device's clock; or change MIN_TIMESTAMP or MAX_CLOCK_SKEW_S, and replay."],
  agent_id_invalid: ["The agent's name is too long, or has characters that it may not have.", "Rename the device; a replay would be rejected again."],
  metric_name_invalid: ["The metric's name is too long, or has characters that it may not have.", "Rename the metric; a replay would be rejected again."],
  dedupe_id_invalid: ["The dedupe_id is no text that a row can have.", "Correct the device's dedupe_id; a replay would be rejected again."],
  tenant_not_a_uuid: ["The second level of the topic is no UUID.", "Correct the device's tenant; a replay would be rejected again."],
  tenant_unknown: ["The application has no such tenant.", "Add the tenant (metric-streams tenants add), then replay."],
  internal_error: ["A bug was met on this message.", "See the log at that time; after an upgrade, replay."],
};

export function meaning(reason) {
  return REASONS[reason] ?? ["A reason that this page does not know.", "Reload the page: another version of the worker may run."];
}
