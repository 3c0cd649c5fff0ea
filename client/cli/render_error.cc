// SPDX-License-Identifier: Apache-2.0
#include "client/cli/render_error.h"

#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/cli/exit_code.h"
#include "client/error.h"

namespace adamant {
namespace {

const std::map<std::string, std::string>& Remedies() {
  static const auto* remedies = new std::map<std::string, std::string>{
      {"INVALID_SPEC",
       "correct what is named above; where a command has --dry-run, it checks only"},
      {"UNKNOWN_PLUGIN", "`adamant plugins list` shows every plug-in of this server"},
      {"BAD_PARAMETER", "`adamant plugins show NAME` lists the parameters and their ranges"},
      {"FORMAT_REFUSED", "upload a safetensors or TorchScript file"},
      {"BLOB_MISSING", "upload the file first: `adamant blob put FILE`"},
      {"BLOB_TOO_LARGE", "`adamant server capabilities` shows the limits"},
      {"MODEL_INCOMPATIBLE", "compare `adamant model get MODEL` with the data"},
      {"DATA_INCOMPATIBLE", "compare `adamant dataset get DATASET` with the model"},
      {"REQUEST_ID_CONFLICT", "this --request-id was used for another request; use a new one"},
      {"ID_TAKEN", "choose another id, or delete the old one first"},
      {"JOB_NOT_FOUND", "`adamant job list` shows the jobs"},
      {"MODEL_NOT_FOUND", "`adamant model list` shows the models"},
      {"DATASET_NOT_FOUND", "`adamant dataset list` shows the datasets"},
      {"UPLOAD_NOT_FOUND", "start the upload again: `adamant blob put FILE`"},
      {"BLOB_NOT_FOUND", "the blob expired or was never uploaded; upload it again"},
      {"WRONG_STATE",
       "`adamant job get JOB` shows its state; a job that has ended can be retried: "
       "`adamant job retry JOB`"},
      {"ETAG_MISMATCH", "the job changed meanwhile; look at it again, then repeat"},
      {"REQUEST_ID_JOB_DELETED", "the job of this --request-id was deleted; use a new id"},
      {"BAD_FILTER", "`adamant job list --help` shows an example of a filter"},
      {"BAD_PAGE_TOKEN", "start the list anew"},
      {"BAD_SEQ", "`adamant job get JOB -o json` shows last_event_seq"},
      {"BAD_OFFSET", "`adamant job get JOB -o json` shows log_bytes"},
      {"QUOTA_JOBS", "wait for your jobs to end, or cancel some: `adamant job list`"},
      {"QUOTA_BYTES", "delete models, datasets or jobs that you no longer need"},
      {"QUOTA_UPLOADS", "wait until another upload of yours has ended"},
      {"RATE_LIMITED", "wait a moment, then try again"},
      {"MEMORY_FULL", "ask for less, or wait until other jobs have ended"},
      {"NO_INTERACTIVE_SLOT",
       "try again in a moment, or submit a job: the same command without --now"},
      {"NO_CREDENTIAL",
       "set ADAMANT_TOKEN_FILE or token_file of a context; see `adamant help "
       "environment`"},
      {"BAD_CREDENTIAL", "check the token file; ask the operator for a new token"},
      {"CREDENTIAL_EXPIRED", "ask the operator for a new token"},
      {"ROLE_DENIED", "ask the operator for a token with the role named above"},
      {"SANDBOX_UNAVAILABLE", "the operator decides which input this server accepts"},
      {"RESOURCE_IN_USE", "wait for the jobs that use it, or cancel them"},
      {"QUEUE_FULL", "try again later, or cancel jobs that wait: `adamant job list`"},
      {"STORAGE_FULL", "free space on the server's disk, then try again"},
      {"DRAINING", "the server is stopping; try again when it is back"},
      {"STORE_UNAVAILABLE", "try again; if it persists look into the server's log"},
      {"BLOB_CORRUPT", "the stored bytes are damaged; upload the file again and check the disk"},
  };
  return *remedies;
}

// gRPC's words for the ways in which TLS fails, and what a user can do.
std::string ConnectRemedy(absl::string_view message, absl::string_view server) {
  if (absl::StrContains(message, "certificate verify failed")) {
    return "the server's certificate is not of the authority in tls_ca (ADAMANT_TLS_CA); ask the "
           "operator for the right file";
  }
  if (absl::StrContains(message, "is not in peer certificate"))
    return "address the server by the name that its certificate holds: --server NAME:PORT";
  if (absl::StrContains(message, "wrong version number")) {
    return absl::StrCat(server,
                        " does not speak TLS: unset ADAMANT_TLS_CA, _CERT and _KEY, or use "
                        "a context without them");
  }
  if (absl::StrContains(message, "Socket closed")) {
    return absl::StrCat("is it adamantd that listens at ", server,
                        "? if it speaks TLS, give its authority: ADAMANT_TLS_CA");
  }
  return absl::StrCat("is adamantd running at ", server,
                      "? start it, or give another address with --server");
}

std::string Remedy(const absl::Status& status, const std::string& reason,
                   absl::string_view server) {
  if (const auto found = Remedies().find(reason); found != Remedies().end()) return found->second;
  if (IsUsageError(status)) return "--help after the command explains its options";
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
      return ConnectRemedy(status.message(), server);
    case absl::StatusCode::kDeadlineExceeded:
      return "the server answers too slowly; try again";
    case absl::StatusCode::kUnimplemented:
      return "this server does not offer it; compare `adamant version`";
    case absl::StatusCode::kAlreadyExists:
      return "choose another name, or --force to overwrite a file";
    case absl::StatusCode::kNotFound:
      return "check the name";
    case absl::StatusCode::kDataLoss:
      return "try again; if it happens again the stored data is damaged";
    case absl::StatusCode::kResourceExhausted:
      return "try again later";
    default:
      return IsServerError(status) ? "correct the request; --debug shows all details"
                                   : "correct what is named above and try again";
  }
}

}  // namespace

std::string ErrorCodeText(const absl::Status& status) {
  if (status.ok()) return "";
  const std::string reason = DecodeError(status).reason;
  if (!reason.empty()) return reason;
  return IsUsageError(status) ? "USAGE" : absl::StatusCodeToString(status.code());
}

std::string RenderError(absl::string_view action, const absl::Status& status,
                        absl::string_view server, bool debug, absl::string_view trace_id) {
  const ClientError error = DecodeError(status);
  // The server's message repeats the violations, for clients that look at nothing else.
  const bool repeated = !error.violations.empty() &&
                        absl::StrContains(status.message(), error.violations.front().description);
  std::string text = absl::StrCat("error: cannot ", action, "\n", "why:   ");
  if (repeated && error.violations.size() > 1) {
    absl::StrAppend(&text, error.violations.size(), " fields are refused");
  } else {
    absl::StrAppend(&text, status.message());
  }
  if (!IsUsageError(status)) absl::StrAppend(&text, " (", ErrorCodeText(status), ")");
  text += '\n';
  for (const FieldViolation& violation : error.violations) {
    if (repeated && error.violations.size() == 1) break;
    absl::StrAppend(&text, "       - ", violation.field, violation.field.empty() ? "" : ": ",
                    violation.description, "\n");
  }
  absl::StrAppend(&text, "do:    ", Remedy(status, error.reason, server), "\n");
  if (!debug) return text;
  absl::StrAppend(&text, "debug: code ", absl::StatusCodeToString(status.code()), ", server ",
                  server, "\n");
  if (!trace_id.empty()) absl::StrAppend(&text, "debug: trace id ", trace_id, "\n");
  if (error.retry_after.has_value()) {
    absl::StrAppend(&text, "debug: retry after ", absl::FormatDuration(*error.retry_after), "\n");
  }
  for (const auto& [key, value] : error.metadata) {
    absl::StrAppend(&text, "debug: ", key, " = ", value, "\n");
  }
  return text;
}

}  // namespace adamant
