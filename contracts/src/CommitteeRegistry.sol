// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {SlotDerivation} from "@openzeppelin/contracts/utils/SlotDerivation.sol";
import {TransientSlot} from "@openzeppelin/contracts/utils/TransientSlot.sol";
import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";

import {Guarded} from "./Guarded.sol";
import {ICommitteeRegistry} from "./interfaces/ICommitteeRegistry.sol";
import {BLS12381, G1Point, G2Point} from "./libraries/BLS12381.sol";
import {CommitteeKeys} from "./libraries/CommitteeKeys.sol";
import {DataContract} from "./libraries/DataContract.sol";
import {SignatureDomain} from "./libraries/SignatureDomain.sol";
import {EpochRecord, Member, OperatorRecord, RollupRecord} from "./types/Committee.sol";

/// @title The committee on L1: operators, epochs, admitted rollups
/// @notice See ICommitteeRegistry.
contract CommitteeRegistry is ICommitteeRegistry, Guarded {
    using EnumerableSet for EnumerableSet.AddressSet;
    using SlotDerivation for bytes32;
    using TransientSlot for *;

    uint256 public constant MAX_SEATS = 256;
    uint256 public constant MAX_URL_LENGTH = 256;
    /// @notice The longest activation delay and the longest grace: a year, in seconds.
    uint64 public constant MAX_DELAY = 365 days;

    /// @param keyContract data contract of the packed key, from which every epoch copies it
    struct Operator {
        address keyContract;
        string dispersalUrl;
        string retrievalUrl;
    }

    /// @param operatorsContract data contract of abi.encode(address[]), in seat order
    /// @param keys first of the data contracts of the seats' keys, written by CommitteeKeys.write
    struct Epoch {
        EpochRecord record;
        address operatorsContract;
        address keys;
    }

    /// @dev Transient storage: the number of the epoch in which this transaction last seated an
    /// operator or a key.
    bytes32 private constant SEATED = keccak256("dac.CommitteeRegistry.seated");

    /// @inheritdoc ICommitteeRegistry
    uint64 public immutable activationDelay;
    /// @inheritdoc ICommitteeRegistry
    uint64 public immutable grace;
    /// @inheritdoc ICommitteeRegistry
    uint64 public epochCount;

    mapping(address account => Operator) private operators;
    mapping(uint64 number => Epoch) private epochs;
    mapping(address account => RollupRecord) private rollupRecords;
    EnumerableSet.AddressSet private admitted;

    constructor(address owner_, uint64 activationDelay_, uint64 grace_) Ownable(owner_) {
        if (activationDelay_ > MAX_DELAY) revert DelayTooLong(activationDelay_, MAX_DELAY);
        if (grace_ > MAX_DELAY) revert DelayTooLong(grace_, MAX_DELAY);
        activationDelay = activationDelay_;
        grace = grace_;
    }

    // Operators

    /// @inheritdoc ICommitteeRegistry
    function register(
        bytes calldata key,
        bytes calldata possession,
        string calldata dispersalUrl,
        string calldata retrievalUrl
    ) external {
        if (key.length != BLS12381.G2_LENGTH) {
            revert KeyLength(key.length, BLS12381.G2_LENGTH);
        }
        if (possession.length != BLS12381.G1_LENGTH) revert PossessionLength(possession.length, BLS12381.G1_LENGTH);
        checkUrls(dispersalUrl, retrievalUrl);
        G2Point memory point = abi.decode(key, (G2Point));
        G1Point memory proof = abi.decode(possession, (G1Point));
        if (BLS12381.isInfinity(point)) revert KeyIsInfinity();
        if (BLS12381.isInfinity(proof)) revert PossessionIsInfinity();
        (bool decided, bool valid) =
            BLS12381.verify(proof, possessionMessage(msg.sender, key), SignatureDomain.POSSESSION_DST, point);
        if (!decided) revert InvalidPoint();
        if (!valid) revert PossessionMismatch();

        operators[msg.sender] = Operator({
            keyContract: DataContract.write(CommitteeKeys.pack(point)),
            dispersalUrl: dispersalUrl,
            retrievalUrl: retrievalUrl
        });
        emit OperatorRegistered(msg.sender, key, dispersalUrl, retrievalUrl);
    }

    /// @inheritdoc ICommitteeRegistry
    function setEndpoints(string calldata dispersalUrl, string calldata retrievalUrl) external {
        checkUrls(dispersalUrl, retrievalUrl);
        Operator storage entry = operators[msg.sender];
        if (entry.keyContract == address(0)) revert UnknownOperator(msg.sender);
        entry.dispersalUrl = dispersalUrl;
        entry.retrievalUrl = retrievalUrl;
        emit EndpointsChanged(msg.sender, dispersalUrl, retrievalUrl);
    }

    /// @inheritdoc ICommitteeRegistry
    function operator(address account) external view returns (OperatorRecord memory) {
        Operator storage entry = operators[account];
        bytes memory key;
        if (entry.keyContract != address(0)) key = unpackedKey(DataContract.read(entry.keyContract), 0);
        return OperatorRecord({key: key, dispersalUrl: entry.dispersalUrl, retrievalUrl: entry.retrievalUrl});
    }

    /// @inheritdoc ICommitteeRegistry
    function possessionMessage(address account, bytes calldata key) public view returns (bytes32) {
        return SignatureDomain.possession(address(this), account, key);
    }

    /// @inheritdoc ICommitteeRegistry
    function domainSeparator() external view returns (bytes32) {
        return SignatureDomain.separator(address(this));
    }

    // Epochs

    /// @inheritdoc ICommitteeRegistry
    function openEpoch(address[] calldata seats, uint16 k, uint16 q) external onlyOwner returns (uint64 number) {
        uint256 n = seats.length;
        if (n < 2 || n > MAX_SEATS || k < 1 || k >= n || q < k || q > n) revert Geometry(n, k, q);
        uint64 last = epochCount;
        uint64 activeFrom = uint64(block.timestamp);
        if (last != 0) {
            uint64 lastActiveFrom = epochs[last].record.activeFrom;
            if (block.timestamp < lastActiveFrom) revert EpochPending(last, lastActiveFrom);
            activeFrom += activationDelay;
        }

        number = last + 1;
        bytes memory points = collect(number, seats);
        if (last != 0) {
            checkReplaced(epochs[last], seats, points, k);
            epochs[last].record.activeUntil = activeFrom - 1;
            epochs[last].record.postableUntil = activeFrom - 1 + grace;
        }

        Epoch storage entry = epochs[number];
        entry.record = EpochRecord({
            n: uint16(n),
            k: k,
            q: q,
            activeFrom: activeFrom,
            activeUntil: type(uint64).max,
            postableUntil: type(uint64).max
        });
        entry.operatorsContract = DataContract.write(abi.encode(seats));
        entry.keys = CommitteeKeys.write(points);
        epochCount = number;
        emit EpochOpened(number, uint16(n), k, q, activeFrom);
    }

    /// @inheritdoc ICommitteeRegistry
    function currentEpoch() external view returns (uint64) {
        uint64 last = epochCount;
        // At most the last epoch is pending. The first one never is.
        return block.timestamp < epochs[last].record.activeFrom ? last - 1 : last;
    }

    /// @inheritdoc ICommitteeRegistry
    function epoch(uint64 number) external view returns (EpochRecord memory) {
        return known(number).record;
    }

    /// @inheritdoc ICommitteeRegistry
    function committee(uint64 number) external view returns (EpochRecord memory record, address keys) {
        Epoch storage entry = known(number);
        return (entry.record, entry.keys);
    }

    /// @inheritdoc ICommitteeRegistry
    function members(uint64 number) external view returns (Member[] memory) {
        return members(number, 0, MAX_SEATS);
    }

    /// @inheritdoc ICommitteeRegistry
    function members(uint64 number, uint256 offset, uint256 limit) public view returns (Member[] memory page) {
        Epoch storage entry = known(number);
        uint256 n = entry.record.n;
        bytes memory points = CommitteeKeys.read(entry.keys, n);
        address[] memory accounts = operatorsOf(entry);
        (uint256 from, uint256 count) = pageOf(n, offset, limit);
        page = new Member[](count);
        for (uint256 i = 0; i < count; ++i) {
            address account = accounts[from + i];
            page[i] = Member({
                operator: account,
                key: unpackedKey(points, (from + i + 1) * CommitteeKeys.PACKED_LENGTH),
                dispersalUrl: operators[account].dispersalUrl,
                retrievalUrl: operators[account].retrievalUrl
            });
        }
    }

    // Rollups

    /// @inheritdoc ICommitteeRegistry
    function admitRollup(address account, address poster, uint64 maxRetention, uint64 dailyBytes) external onlyOwner {
        if (account == address(0) || poster == address(0) || maxRetention == 0 || dailyBytes == 0) {
            revert IncompleteRollup();
        }
        admitted.add(account);
        rollupRecords[account] =
            RollupRecord({rollup: account, poster: poster, maxRetention: maxRetention, dailyBytes: dailyBytes});
        emit RollupAdmitted(account, poster, maxRetention, dailyBytes);
    }

    /// @inheritdoc ICommitteeRegistry
    function removeRollup(address account) external onlyOwner {
        if (!admitted.remove(account)) revert UnknownRollup(account);
        delete rollupRecords[account];
        emit RollupRemoved(account);
    }

    /// @inheritdoc ICommitteeRegistry
    function rollupCount() external view returns (uint256) {
        return admitted.length();
    }

    /// @inheritdoc ICommitteeRegistry
    function rollup(address account) external view returns (RollupRecord memory) {
        return rollupRecords[account];
    }

    /// @inheritdoc ICommitteeRegistry
    function rollups(uint256 offset, uint256 limit) external view returns (RollupRecord[] memory page) {
        (uint256 from, uint256 count) = pageOf(admitted.length(), offset, limit);
        page = new RollupRecord[](count);
        for (uint256 i = 0; i < count; ++i) {
            page[i] = rollupRecords[admitted.at(from + i)];
        }
    }

    // Pausing

    /// @inheritdoc ICommitteeRegistry
    function pause() external {
        pauseByOwnerOrPauser();
    }

    /// @inheritdoc ICommitteeRegistry
    function unpause() external onlyOwner {
        _unpause();
    }

    /// @inheritdoc ICommitteeRegistry
    function paused() public view override(ICommitteeRegistry, Pausable) returns (bool) {
        return super.paused();
    }

    // Internals

    /// @dev Returns the seats' packed keys, after an empty place for their sum. Reverts for an
    /// operator that is not registered and for duplicates.
    function collect(uint64 number, address[] calldata seats) private returns (bytes memory points) {
        points = new bytes((seats.length + 1) * CommitteeKeys.PACKED_LENGTH);
        for (uint256 seat = 0; seat < seats.length; ++seat) {
            address account = seats[seat];
            address keyContract = operators[account].keyContract;
            if (keyContract == address(0)) revert UnknownOperator(account);
            uint256 start = (seat + 1) * CommitteeKeys.PACKED_LENGTH;
            DataContract.readTo(points, start, keyContract, 0, CommitteeKeys.PACKED_LENGTH);
            if (seated(number, bytes32(uint256(uint160(account))))) revert DuplicateOperator(account, seat);
            if (seated(number, CommitteeKeys.idUpToSign(points, start))) revert DuplicateKey(account, seat);
        }
    }

    /// @dev Marks an operator or key as seated in this epoch. Returns whether it was marked before.
    function seated(uint64 number, bytes32 who) private returns (bool before) {
        TransientSlot.Uint256Slot slot = SEATED.deriveMapping(who).asUint256();
        before = slot.tload() == number;
        slot.tstore(number);
    }

    /// @dev If (n, k) is unchanged, limits the number of seats that change hands by the former
    /// epoch's margin q − k.
    function checkReplaced(Epoch storage former, address[] calldata seats, bytes memory points, uint16 k) private view {
        EpochRecord memory record = former.record;
        if (record.n != seats.length || record.k != k) return;
        bytes memory formerPoints = CommitteeKeys.read(former.keys, record.n);
        address[] memory formerAccounts = operatorsOf(former);
        uint256 replaced = 0;
        for (uint256 seat = 0; seat < seats.length; ++seat) {
            uint256 start = (seat + 1) * CommitteeKeys.PACKED_LENGTH;
            bool same = formerAccounts[seat] == seats[seat]
                && CommitteeKeys.id(formerPoints, start) == CommitteeKeys.id(points, start);
            if (!same) ++replaced;
        }
        uint256 limit = record.q > record.k ? record.q - record.k : 1;
        if (replaced > limit) revert TooManySeatsReplaced(replaced, limit);
    }

    function known(uint64 number) private view returns (Epoch storage) {
        Epoch storage entry = epochs[number];
        if (entry.record.n == 0) revert UnknownEpoch(number, epochCount);
        return entry;
    }

    function unpackedKey(bytes memory points, uint256 start) private pure returns (bytes memory) {
        G2Point memory point;
        CommitteeKeys.unpack(points, start, point);
        return abi.encode(point);
    }

    function operatorsOf(Epoch storage entry) private view returns (address[] memory) {
        return abi.decode(DataContract.read(entry.operatorsContract), (address[]));
    }

    function pageOf(uint256 length, uint256 offset, uint256 limit) private pure returns (uint256 from, uint256 count) {
        from = offset < length ? offset : length;
        count = limit < length - from ? limit : length - from;
    }

    function checkUrls(string calldata dispersalUrl, string calldata retrievalUrl) private pure {
        checkUrl(bytes(dispersalUrl).length);
        checkUrl(bytes(retrievalUrl).length);
    }

    function checkUrl(uint256 length) private pure {
        if (length == 0 || length > MAX_URL_LENGTH) revert UrlLength(length, MAX_URL_LENGTH);
    }
}
