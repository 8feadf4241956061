/** On a Credential while the store holds something of it. */
export const STORE_FINALIZER = 'sidekey.dev/store';
