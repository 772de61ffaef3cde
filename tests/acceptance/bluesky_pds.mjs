// Runs Bluesky's own server (@atproto/pds) with the directory of identities that it needs (@did-plc/server).
// Both listen on this machine only and keep nothing outside of the folder that they are given.
// Arguments: port of the server, port of the directory, folder.
import { randomBytes } from 'node:crypto'
import { Server } from 'node:net'
import { join } from 'node:path'

const [serverPort, directoryPort, folder] = [Number(process.argv[2]), Number(process.argv[3]), process.argv[4]]

// Neither program takes a host to listen on, and both would take all of this machine's addresses.
const listen = Server.prototype.listen
Server.prototype.listen = function (port, ...rest) {
  const bare = typeof port === 'number' && typeof rest[0] !== 'string'
  return bare ? listen.call(this, port, '127.0.0.1', ...rest) : listen.call(this, port, ...rest)
}

const hex = (bytes) => randomBytes(bytes).toString('hex')
const nowhere = 'http://127.0.0.1:9'
const plc = await import('@did-plc/server')
const { Database, PlcServer } = plc.default ?? plc
const directory = PlcServer.create({ db: Database.mock(), port: directoryPort })
await directory.start()
const { PDS } = await import('@atproto/pds')
const server = await PDS.fromEnv({
  port: serverPort,
  hostname: 'localhost',
  devMode: true,
  dataDirectory: folder,
  blobstoreDiskLocation: join(folder, 'blobs'),
  didPlcUrl: `http://127.0.0.1:${directoryPort}`,
  disableSsrfProtection: true,
  serviceHandleDomains: ['.test'],
  inviteRequired: false,
  rateLimitsEnabled: false,
  crawlers: [],
  jwtSecret: hex(16),
  dpopSecret: hex(32),
  adminPassword: hex(8),
  plcRotationKeyK256PrivateKeyHex: hex(32),
  bskyAppViewUrl: nowhere,
  bskyAppViewDid: 'did:example:none',
  bskyAppViewCdnUrlPattern: `${nowhere}/%s/%s/%s`,
  modServiceUrl: nowhere,
  modServiceDid: 'did:example:none',
})
await server.start()
console.log(`ready ${Math.round(process.memoryUsage().rss / 1e6)}`)

const stop = async () => {
  await server.destroy()
  await directory.destroy()
  process.exit(0)
}
process.on('SIGTERM', stop)
process.on('SIGINT', stop)
