"""Discovery, time, devices, their registration and assignments, and their log."""

from typing import Annotated

from tierline.protocols.sep2.resources.kinds import (
    Bool,
    DurationSeconds,
    EpochSeconds,
    Hex32,
    Hex64,
    LfdiHex,
    MridHex,
    OffsetSeconds,
    Pin,
    SfdiNumber,
    String32,
    Subscribable,
    UInt8,
    UInt16,
    UInt32,
)
from tierline.protocols.sep2.resources.objects import (
    ActivePower,
    Link,
    ListLink,
    RealEnergy,
    Resource,
    SubscribableList,
    SubscribableResource,
)
from tierline.protocols.sep2.resources.rows import Attribute, Edition, Element, Space, Value


class FunctionSetAssignmentsBase(Resource, frozen=True, kw_only=True):
    """Which function sets are offered."""

    customer_account_list_link: Annotated[ListLink | None, Element("CustomerAccountListLink")] = None
    demand_response_program_list_link: Annotated[ListLink | None, Element("DemandResponseProgramListLink")] = None
    der_program_list_link: Annotated[ListLink | None, Element("DERProgramListLink")] = None
    file_list_link: Annotated[ListLink | None, Element("FileListLink")] = None
    messaging_program_list_link: Annotated[ListLink | None, Element("MessagingProgramListLink")] = None
    prepayment_list_link: Annotated[ListLink | None, Element("PrepaymentListLink")] = None
    response_set_list_link: Annotated[ListLink | None, Element("ResponseSetListLink")] = None
    tariff_profile_list_link: Annotated[ListLink | None, Element("TariffProfileListLink")] = None
    time_link: Annotated[Link | None, Element("TimeLink")] = None
    usage_point_list_link: Annotated[ListLink | None, Element("UsagePointListLink")] = None


class DeviceCapability(FunctionSetAssignmentsBase, frozen=True, kw_only=True):
    """The entry point of a server."""

    poll_rate: Annotated[DurationSeconds | None, Attribute("pollRate")] = None
    end_device_list_link: Annotated[ListLink | None, Element("EndDeviceListLink")] = None
    mirror_usage_point_list_link: Annotated[ListLink | None, Element("MirrorUsagePointListLink")] = None
    self_device_link: Annotated[Link | None, Element("SelfDeviceLink")] = None


class FunctionSetAssignments(FunctionSetAssignmentsBase, frozen=True, kw_only=True):
    """What one device is assigned to."""

    subscribable: Annotated[Subscribable | None, Attribute("subscribable")] = None
    mrid: Annotated[MridHex, Element("mRID")]
    description: Annotated[String32 | None, Element("description")] = None
    version: Annotated[UInt16 | None, Element("version")] = None


class FunctionSetAssignmentsList(SubscribableList, frozen=True, kw_only=True):
    """A page of assignments."""

    poll_rate: Annotated[DurationSeconds | None, Attribute("pollRate")] = None
    items: Annotated[tuple[FunctionSetAssignments, ...], Element("FunctionSetAssignments")] = ()


class Time(Resource, frozen=True, kw_only=True):
    """The server's clock."""

    poll_rate: Annotated[DurationSeconds | None, Attribute("pollRate")] = None
    current_time: Annotated[EpochSeconds, Element("currentTime")]
    dst_end_time: Annotated[EpochSeconds, Element("dstEndTime")]
    dst_offset: Annotated[OffsetSeconds, Element("dstOffset")]
    dst_start_time: Annotated[EpochSeconds, Element("dstStartTime")]
    local_time: Annotated[EpochSeconds | None, Element("localTime")] = None
    quality: Annotated[UInt8, Element("quality")]
    """3 from an authority ... 7 intentionally uncoordinated."""
    tz_offset: Annotated[OffsetSeconds, Element("tzOffset")]


class AbstractDevice(SubscribableResource, frozen=True, kw_only=True):
    """What every device has."""

    configuration_link: Annotated[Link | None, Element("ConfigurationLink")] = None
    der_list_link: Annotated[ListLink | None, Element("DERListLink")] = None
    device_category: Annotated[Hex32 | None, Element("deviceCategory")] = None
    device_information_link: Annotated[Link | None, Element("DeviceInformationLink")] = None
    device_status_link: Annotated[Link | None, Element("DeviceStatusLink")] = None
    file_status_link: Annotated[Link | None, Element("FileStatusLink")] = None
    ip_interface_list_link: Annotated[ListLink | None, Element("IPInterfaceListLink")] = None
    lfdi: Annotated[LfdiHex | None, Element("lFDI")] = None
    load_shed_availability_list_link: Annotated[ListLink | None, Element("LoadShedAvailabilityListLink")] = None
    log_event_list_link: Annotated[ListLink | None, Element("LogEventListLink")] = None
    power_status_link: Annotated[Link | None, Element("PowerStatusLink")] = None
    sfdi: Annotated[SfdiNumber, Element("sFDI")]


class EndDevice(AbstractDevice, frozen=True, kw_only=True):
    """A client as the server knows it."""

    changed_time: Annotated[EpochSeconds, Element("changedTime")]
    enabled: Annotated[Bool | None, Element("enabled")] = None
    flow_reservation_request_list_link: Annotated[ListLink | None, Element("FlowReservationRequestListLink")] = None
    flow_reservation_response_list_link: Annotated[ListLink | None, Element("FlowReservationResponseListLink")] = None
    function_set_assignments_list_link: Annotated[ListLink | None, Element("FunctionSetAssignmentsListLink")] = None
    post_rate: Annotated[DurationSeconds | None, Element("postRate")] = None
    registration_link: Annotated[Link | None, Element("RegistrationLink")] = None
    subscription_list_link: Annotated[ListLink | None, Element("SubscriptionListLink")] = None
    connection_point_link: Annotated[
        Link | None, Element("ConnectionPointLink", Edition.CSIP_AUS_1_2, Space.CSIP_AUS)
    ] = None


class EndDeviceList(SubscribableList, frozen=True, kw_only=True):
    """A page of devices."""

    poll_rate: Annotated[DurationSeconds | None, Attribute("pollRate")] = None
    items: Annotated[tuple[EndDevice, ...], Element("EndDevice")] = ()


class SelfDevice(AbstractDevice, frozen=True, kw_only=True):
    """The server as a device."""

    poll_rate: Annotated[DurationSeconds | None, Attribute("pollRate")] = None


class Registration(Resource, frozen=True, kw_only=True):
    """When a device was registered, and the PIN that proves to it that this is its server."""

    poll_rate: Annotated[DurationSeconds | None, Attribute("pollRate")] = None
    date_time_registered: Annotated[EpochSeconds, Element("dateTimeRegistered")]
    pin: Annotated[Pin, Element("pIN")]


class GPSLocationType(Value, frozen=True, kw_only=True):
    """A place in degrees, as text."""

    lat: Annotated[String32, Element("lat")]
    lon: Annotated[String32, Element("lon")]


class DRLCCapabilities(Value, frozen=True, kw_only=True):
    """What a device can do for demand response."""

    average_energy: Annotated[RealEnergy, Element("averageEnergy")]
    max_demand: Annotated[ActivePower, Element("maxDemand")]
    options_implemented: Annotated[Hex32, Element("optionsImplemented")]


class DeviceInformation(Resource, frozen=True, kw_only=True):
    """The maker's data of a device."""

    poll_rate: Annotated[DurationSeconds | None, Attribute("pollRate")] = None
    drlc_capabilities: Annotated[DRLCCapabilities | None, Element("DRLCCapabilities")] = None
    functions_implemented: Annotated[Hex64 | None, Element("functionsImplemented")] = None
    gps_location: Annotated[GPSLocationType | None, Element("gpsLocation")] = None
    lfdi: Annotated[LfdiHex, Element("lFDI")]
    mf_date: Annotated[EpochSeconds, Element("mfDate")]
    mf_hw_ver: Annotated[String32, Element("mfHwVer")]
    mf_id: Annotated[UInt32, Element("mfID")]
    """The maker's private enterprise number."""
    mf_info: Annotated[String32 | None, Element("mfInfo")] = None
    mf_model: Annotated[String32, Element("mfModel")]
    mf_ser_num: Annotated[String32, Element("mfSerNum")]
    primary_power: Annotated[UInt8, Element("primaryPower")]
    secondary_power: Annotated[UInt8, Element("secondaryPower")]
    supported_locale_list_link: Annotated[ListLink | None, Element("SupportedLocaleListLink")] = None
    sw_act_time: Annotated[EpochSeconds, Element("swActTime")]
    sw_ver: Annotated[String32, Element("swVer")]


class LogEvent(Resource, frozen=True, kw_only=True):
    """One alarm, return to normal, or other entry of a device's log."""

    created_date_time: Annotated[EpochSeconds, Element("createdDateTime")]
    details: Annotated[String32 | None, Element("details")] = None
    extended_data: Annotated[UInt32 | None, Element("extendedData")] = None
    function_set: Annotated[UInt8, Element("functionSet")]
    log_event_code: Annotated[UInt8, Element("logEventCode")]
    log_event_id: Annotated[UInt16, Element("logEventID")]
    log_event_pen: Annotated[UInt32, Element("logEventPEN")]
    profile_id: Annotated[UInt8, Element("profileID")]


class LogEventList(SubscribableList, frozen=True, kw_only=True):
    """A page of a device's log."""

    poll_rate: Annotated[DurationSeconds | None, Attribute("pollRate")] = None
    items: Annotated[tuple[LogEvent, ...], Element("LogEvent")] = ()


class ConnectionPoint(Resource, frozen=True, kw_only=True):
    """Where in the grid a device is installed (CSIP-AUS)."""

    connection_point_id: Annotated[
        String32,
        # CSIP-AUS 1.1 named it `id`
        Element("connectionPointId", Edition.CSIP_AUS_1_2, Space.CSIP_AUS, aliases=("id",)),
    ]
