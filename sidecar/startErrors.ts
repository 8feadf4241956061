import { CodedError, type ErrorRow } from '../lib/errors.ts';

/** Every way a sidecar does not start; docs/errors.md lists the same. None of them reaches HTTP: the parent hears of them. */
export const START_ERRORS = {
  BootstrapInvalid: {
    status: 0,
    retryable: false,
    help: 'The parent process handed over no valid bootstrap, or the environment of a sidecar in a pod is not as the webhook writes it.',
  },
  JoinFailed: {
    status: 0,
    retryable: true,
    help: 'The store cannot be reached, or does not take the join token: each is good once and for a minute.',
  },
  PortInUse: {
    status: 0,
    retryable: false,
    help: 'Another process listens on the port; stop it or choose another port.',
  },
  BundleUnwritable: {
    status: 0,
    retryable: false,
    help: 'The file of CA certificates for the agent cannot be written; see to its directory.',
  },
  PrivateDirUnwritable: {
    status: 0,
    retryable: false,
    help: 'The directory where the sidecar of a pod keeps its CA cannot be written; a volume in memory that only the sidecar mounts belongs there.',
  },
  ExtraCaInvalid: { status: 0, retryable: false, help: 'The file of extra CAs cannot be read or has no certificate.' },
  ProxyInvalid: {
    status: 0,
    retryable: false,
    help: 'HTTPS_PROXY or HTTP_PROXY of the sidecar is no http:// or https:// URL.',
  },
} as const satisfies Record<string, ErrorRow>;

export type StartErrorCode = keyof typeof START_ERRORS;

export function startError(code: StartErrorCode, message: string, options?: ErrorOptions): CodedError<StartErrorCode> {
  return new CodedError(code, message, options);
}

export function isStartError(error: unknown): error is CodedError<StartErrorCode> {
  return error instanceof CodedError && Object.hasOwn(START_ERRORS, error.code);
}
