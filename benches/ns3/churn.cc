// The connection churn of benches/churn.toml in ns-3 3.37: clients -- one router -- server, the server closes first and
// keeps TIME_WAIT. Built and timed beside ours by benches/compare-ns3; prints one line of KEY=VALUE.
//
// Options: --n connections, --rate connections/s, --msl seconds (TIME_WAIT is twice that), --clients hosts.

#include "ns3/core-module.h"
#include "ns3/internet-module.h"
#include "ns3/network-module.h"
#include "ns3/point-to-point-module.h"

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

using namespace ns3;

namespace {

constexpr uint32_t kRequestBytes = 200;
constexpr uint32_t kResponseBytes = 500;
constexpr uint16_t kPort = 80;

uint64_t connections = 10000;
double rate = 1000;

uint64_t started = 0;
uint64_t done = 0;
uint64_t failed = 0;
uint64_t hops = 0;

std::vector<Ptr<Node>> clients;
Address serverAddress;
Ptr<ExponentialRandomVariable> gap;

void PacketOnWire(Ptr<const Packet>) { hops++; }

void ClientReceive(Ptr<Socket> socket) {
  while (socket->Recv()) {
  }
}
void ClientConnected(Ptr<Socket> socket) { socket->Send(Create<Packet>(kRequestBytes)); }
void ClientPeerClosed(Ptr<Socket> socket) {
  done++;
  socket->Close();
}
void ClientFailed(Ptr<Socket>) { failed++; }

void ServerReceive(Ptr<Socket> socket) {
  bool any = false;
  for (Ptr<Packet> packet = socket->Recv(); packet && packet->GetSize() > 0; packet = socket->Recv()) {
    any = true;
  }
  if (any) {
    socket->Send(Create<Packet>(kResponseBytes));
    socket->Close();
  }
}
void ServerAccepted(Ptr<Socket> socket, const Address &) { socket->SetRecvCallback(MakeCallback(&ServerReceive)); }

// One connection, and the next one after an exponential gap.
void StartConnection() {
  Ptr<Node> node = clients[started % clients.size()];
  Ptr<Socket> socket = Socket::CreateSocket(node, TcpSocketFactory::GetTypeId());
  socket->SetConnectCallback(MakeCallback(&ClientConnected), MakeCallback(&ClientFailed));
  socket->SetRecvCallback(MakeCallback(&ClientReceive));
  socket->SetCloseCallbacks(MakeCallback(&ClientPeerClosed), MakeCallback(&ClientFailed));
  if (socket->Bind() != 0 || socket->Connect(serverAddress) != 0) {
    failed++;
  }
  started++;
  if (started < connections) {
    Simulator::Schedule(Seconds(gap->GetValue()), &StartConnection);
  }
}

void BuildNetwork(uint32_t hosts) {
  NodeContainer clientNodes, router, server;
  clientNodes.Create(hosts);
  router.Create(1);
  server.Create(1);
  InternetStackHelper stack;
  stack.Install(clientNodes);
  stack.Install(router);
  stack.Install(server);

  PointToPointHelper link;
  link.SetDeviceAttribute("DataRate", StringValue("10Gbps"));
  link.SetChannelAttribute("Delay", StringValue("100us"));
  Ipv4AddressHelper addresses;
  for (uint32_t i = 0; i < hosts; i++) {
    NetDeviceContainer devices = link.Install(clientNodes.Get(i), router.Get(0));
    std::string network = "10." + std::to_string(1 + i / 250) + "." + std::to_string(i % 250) + ".0";
    addresses.SetBase(network.c_str(), "255.255.255.0");
    addresses.Assign(devices);
    clients.push_back(clientNodes.Get(i));
  }
  NetDeviceContainer devices = link.Install(router.Get(0), server.Get(0));
  addresses.SetBase("10.200.0.0", "255.255.255.0");
  Ipv4InterfaceContainer interfaces = addresses.Assign(devices);
  serverAddress = InetSocketAddress(interfaces.GetAddress(1), kPort);
  Ipv4GlobalRoutingHelper::PopulateRoutingTables();

  Ptr<Socket> listener = Socket::CreateSocket(server.Get(0), TcpSocketFactory::GetTypeId());
  listener->Bind(InetSocketAddress(Ipv4Address::GetAny(), kPort));
  listener->Listen();
  listener->SetAcceptCallback(MakeNullCallback<bool, Ptr<Socket>, const Address &>(), MakeCallback(&ServerAccepted));
}

double WallSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

int main(int argc, char **argv) {
  uint32_t hosts = 4;
  double msl = 30;
  CommandLine command;
  command.AddValue("n", "connections", connections);
  command.AddValue("rate", "connections per second", rate);
  command.AddValue("msl", "seconds; TIME_WAIT is twice that", msl);
  command.AddValue("clients", "client hosts", hosts);
  command.Parse(argc, argv);

  Config::SetDefault("ns3::TcpSocketBase::MaxSegLifetime", DoubleValue(msl));
  Config::SetDefault("ns3::TcpSocket::SegmentSize", UintegerValue(1460));
  Config::SetDefault("ns3::TcpSocket::DelAckCount", UintegerValue(2));
  BuildNetwork(hosts);
  Config::ConnectWithoutContext("/NodeList/*/DeviceList/*/$ns3::PointToPointNetDevice/PhyTxBegin",
                                MakeCallback(&PacketOnWire));
  gap = CreateObject<ExponentialRandomVariable>();
  gap->SetAttribute("Mean", DoubleValue(1.0 / rate));
  Simulator::Schedule(MilliSeconds(1), &StartConnection);
  Simulator::Stop(Seconds(connections / rate + 1.0));

  const double begin = WallSeconds();
  Simulator::Run();
  const double wall = WallSeconds() - begin;

  const double n = static_cast<double>(connections);
  std::printf("connections=%.0f done=%.0f failed=%.0f us_per_connection=%.3f events_per_connection=%.2f "
              "packets_per_connection=%.3f hops_per_connection=%.3f\n",
              n, static_cast<double>(done), static_cast<double>(failed), wall * 1e6 / n,
              static_cast<double>(Simulator::GetEventCount()) / n, static_cast<double>(hops) / n / 2,
              static_cast<double>(hops) / n);
  std::fflush(stdout);
  Simulator::Destroy();
  return 0;
}
