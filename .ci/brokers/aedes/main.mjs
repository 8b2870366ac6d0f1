// An aedes broker for the tests. It listens where its argument says, and keeps its state in memory.
import { createServer } from 'node:net'
import { Aedes } from 'aedes'

const [host, port] = process.argv[2].split(':')
const aedes = await Aedes.createBroker()
const server = createServer(aedes.handle).listen(Number(port), host)
process.on('SIGTERM', () => {
  server.close()
  aedes.close(() => process.exit(0))
})
