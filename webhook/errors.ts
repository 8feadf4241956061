import { CodedError, type ErrorRow } from '../lib/errors.ts';

/** Why the webhook does not start, refuses a pod, or leaves one as it is. A status other than 0 is what the API server answers with. */
export const WEBHOOK_ERRORS = {
  ConfigInvalid: {
    status: 0,
    retryable: false,
    help: 'The configuration file (--config) cannot be read or says what is not possible; the chart writes it from its values.',
  },
  PortInUse: {
    status: 0,
    retryable: false,
    help: 'Another process listens on the port; stop it or choose another port.',
  },
  NotReady: {
    status: 503,
    retryable: true,
    help: 'The webhook does not know yet by what the store is trusted, or which objects there are; pods wait until it does. See the log of the pods of sidekey-webhook.',
  },
  ReviewInvalid: {
    status: 400,
    retryable: false,
    help: 'What was sent is no AdmissionReview of admission.k8s.io/v1 for an object that the webhook is registered for.',
  },
  HostNetworkRefused: {
    status: 403,
    retryable: false,
    help: 'A pod with hostNetwork shares the ports of its node, so its sidecar would serve everybody there; unset hostNetwork, or take the label sidekey.dev/inject away.',
  },
  CaptureInvalid: {
    status: 400,
    retryable: false,
    help: 'The annotation sidekey.dev/capture must be proxy, baseURL or transparent.',
  },
  CapturePortsInvalid: {
    status: 400,
    retryable: false,
    help: "The annotation sidekey.dev/capture-ports must have TCP ports with commas between, none of the sidecar's own (15021, 15080, 15100 to 15163), at most 62.",
  },
  EgressInvalid: {
    status: 400,
    retryable: false,
    help: 'The annotation sidekey.dev/egress must be Open or Closed.',
  },
  NotLabelled: {
    status: 0,
    retryable: false,
    help: 'The pod does not have the label sidekey.dev/inject: "true"; it is left as it is.',
  },
  Windows: {
    status: 0,
    retryable: false,
    help: 'The pod is for Windows nodes and the sidecar runs on Linux alone; it is left without one, and gets no credentials.',
  },
  StaticPod: {
    status: 0,
    retryable: false,
    help: 'The pod mirrors a static pod that a kubelet has from a file; it runs as that file says, without a sidecar and without credentials.',
  },
  InternalError: { status: 500, retryable: true, help: 'The webhook failed; its log has the cause.' },
} as const satisfies Record<string, ErrorRow>;

export type WebhookErrorCode = keyof typeof WEBHOOK_ERRORS;

/** An error of the webhook; without a message the help of its code says it. */
export function webhookError(
  code: WebhookErrorCode,
  message?: string,
  options?: ErrorOptions,
): CodedError<WebhookErrorCode> {
  return new CodedError(code, message ?? WEBHOOK_ERRORS[code].help, options);
}
