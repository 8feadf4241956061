import { CodedError, type ErrorRow } from '../lib/errors.ts';

/** Every way the store fails; docs/errors.md lists the same, by test. Status 0: it ends the start of the process instead of a request. */
export const STORE_ERRORS = {
  MalformedRequest: {
    status: 400,
    retryable: false,
    help: 'The request does not have the shape that the protocol asks for.',
  },
  NotAuthenticated: {
    status: 401,
    retryable: false,
    help: 'The connection has no client certificate that this store has issued; join first.',
  },
  JoinTokenInvalid: {
    status: 401,
    retryable: false,
    help: 'The join token is unknown, used or expired; ask for a new one.',
  },
  PodTokenInvalid: {
    status: 401,
    retryable: false,
    help: 'The token is not one that the kubelet projected for a pod of this cluster, with the audience sidekey; the sidecar is put into the pod by the webhook alone.',
  },
  PodNotAdmitted: {
    status: 403,
    retryable: false,
    help: 'The pod of the token is gone, is ending, or has no label sidekey.dev/inject=true.',
  },
  IdentityRevoked: {
    status: 401,
    retryable: false,
    help: 'The session of this certificate has ended, or the certificate was not renewed in time; join anew.',
  },
  NotPermitted: { status: 403, retryable: false, help: 'This kind of identity may not make this request.' },
  NotGranted: {
    status: 403,
    retryable: false,
    help: 'No Integration in the namespace of the session grants it the credential.',
  },
  Revoked: {
    status: 403,
    retryable: false,
    help: 'A revocation stands against the session or the credential; sidekey revoke list shows it, sidekey revoke lift takes it back.',
  },
  NotFound: { status: 404, retryable: false, help: 'There is nothing by this name.' },
  MaterialMissing: {
    status: 409,
    retryable: true,
    help: 'The credential has no material yet; see the conditions of the Credential.',
  },
  MaterialExpired: {
    status: 409,
    retryable: false,
    help: 'The version in force is older than the maxLifetime of the Credential; give it a new value.',
  },
  UsesExhausted: {
    status: 409,
    retryable: false,
    help: 'The version in force was leased as often as the maxUses of the Credential allows; give it a new value.',
  },
  SidecarTooOld: {
    status: 409,
    retryable: false,
    help: 'The credential has maxUses, which this sidecar does not keep to; start the agent anew with the sidecar of this version.',
  },
  WrongSource: {
    status: 409,
    retryable: false,
    help: 'The material of this credential comes from another source; change the source of the Credential or use that one.',
  },
  KekNotRotatable: {
    status: 409,
    retryable: false,
    help: 'There is no newer key encryption key to rotate to; make one where the keys are kept, or name another place with --to.',
  },
  RequestTimeout: { status: 408, retryable: true, help: 'The request did not arrive in time.' },
  TooLarge: { status: 413, retryable: false, help: 'The head or body of the request is larger than the store takes.' },
  TooManyRequests: { status: 429, retryable: true, help: 'The session asks for more than its share; retry later.' },
  InternalError: { status: 500, retryable: true, help: 'The store failed; its log has the cause.' },
  MaterialDamaged: {
    status: 500,
    retryable: false,
    help: 'The stored material was changed behind the back of the store and is not given out; set it again.',
  },
  StorageFailed: {
    status: 503,
    retryable: true,
    help: 'The database could not be written, most often because the disk is full; nothing was changed or given out.',
  },
  StoreSealed: {
    status: 503,
    retryable: true,
    help: 'The key encryption key cannot be used now, so nothing is given out; sidekey kek status says why, and the store goes on by itself once that is mended.',
  },
  KubernetesUnavailable: {
    status: 503,
    retryable: true,
    help: 'The API server of Kubernetes could not be asked about the pod; it is tried again.',
  },
  KubernetesForbidden: {
    status: 503,
    retryable: true,
    help: 'The store may not review tokens or look at pods; its ClusterRole or the binding of it is missing, which helm upgrade mends.',
  },
  Overloaded: { status: 503, retryable: true, help: 'The store is at one of its bounds; retry later.' },
  BootstrapInvalid: { status: 0, retryable: false, help: 'The parent process handed over no valid bootstrap.' },
  KekMissing: {
    status: 0,
    retryable: false,
    help: 'The key encryption key is missing; put it back, for without it nothing in the database can be read.',
  },
  KekExposed: {
    status: 0,
    retryable: false,
    help: 'The key encryption key is readable by others; take that right away with chmod 600, and replace the credentials if others may have read it.',
  },
  KekMalformed: {
    status: 0,
    retryable: false,
    help: 'The key file does not hold 32 bytes in base64; put the right one back.',
  },
  KekMismatch: {
    status: 0,
    retryable: false,
    help: 'The database was encrypted under another key; put the right key file back, or point at the right database.',
  },
  KekUnsuitable: {
    status: 0,
    retryable: false,
    help: 'The key encryption key cannot be used for what is needed; name a symmetric one behind https.',
  },
  DatabaseDamaged: {
    status: 0,
    retryable: false,
    help: 'The database does not pass its checks; restore a backup, or move it away to start empty.',
  },
  DatabaseTooNew: {
    status: 0,
    retryable: false,
    help: 'A newer version of Sidekey has written the database; use that version.',
  },
  DatabaseUnreachable: {
    status: 0,
    retryable: true,
    help: 'The PostgreSQL server cannot be reached or refuses the login; its address is in databaseUrl, the password there or in PGPASSWORD.',
  },
  StoreRunning: { status: 0, retryable: false, help: 'Another store uses the state directory; stop it first.' },
  AuditConfigInvalid: {
    status: 0,
    retryable: false,
    help: 'The audit.yaml file of the state directory cannot be read or says what is not possible; correct it, or move it away.',
  },
  AuditTruncated: {
    status: 0,
    retryable: false,
    help: 'The audit in the database does not reach its last signed head: the database is older than the audit.head file, or was changed.',
  },
  BackupForeign: {
    status: 0,
    retryable: false,
    help: 'The file is no backup of Sidekey, or one of a newer version.',
  },
  BackupWrongKey: {
    status: 0,
    retryable: false,
    help: 'The backup is not sealed by this passphrase, or not under a key encryption key that is at hand.',
  },
  BackupDamaged: {
    status: 0,
    retryable: false,
    help: 'The backup was changed or cut off and is not restored; use another one.',
  },
  RestoreRefused: {
    status: 0,
    retryable: false,
    help: 'There is a store already where the backup is to be restored; choose another place, or say --force to replace it.',
  },
  PortInUse: {
    status: 0,
    retryable: false,
    help: 'Another process listens on the port; stop it or choose another port.',
  },
  SocketUnusable: {
    status: 0,
    retryable: false,
    help: 'The admin socket cannot be made: its directory belongs to somebody else or the path is taken.',
  },
} as const satisfies Record<string, ErrorRow>;

export type StoreErrorCode = keyof typeof STORE_ERRORS;

/** An error of the store; without a message the help of its code says it. */
export function storeError(code: StoreErrorCode, message?: string, options?: ErrorOptions): CodedError<StoreErrorCode> {
  return new CodedError(code, message ?? STORE_ERRORS[code].help, options);
}

/** The code if it is one of ours. */
export function storeErrorCode(error: unknown): StoreErrorCode | undefined {
  return error instanceof CodedError && Object.hasOwn(STORE_ERRORS, error.code)
    ? (error.code as StoreErrorCode)
    : undefined;
}
